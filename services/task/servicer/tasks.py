"""Serves `mesh.task.v1.TaskService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from uuid import UUID

from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from meshkit.errors import DomainError
from meshkit.interceptors.chain import Context
from meshkit.interceptors.validate import check_bounds
from meshkit.security.principal import current_principal
from meshkit.statuses import to_status
from services.task.convert import tasks as convert
from services.task.convert.attempts import attempts_to_proto
from services.task.convert.updates import update_from_proto
from services.task.convert.values import MOST_BESIDE, check_value
from services.task.convert.watches import OFFSET_KEY, offset_of, watch_from_proto
from services.task.domain.task import NewTask
from services.task.usecases.listing import Listing
from services.task.usecases.tasks import Tasks
from services.task.watches import Watches
from services.task.watching import Watching

_WAIT_SECONDS = 30.0
_STREAMED_AT_A_TIME = 8


class TaskServicer(task_service_pb2_grpc.TaskServiceServicer):
    """The side of callers."""

    def __init__(
        self,
        tasks: Tasks,
        listing: Listing,
        watching: Watching,
        watches: Watches,
        *,
        default_attempts: int,
    ) -> None:
        self._tasks = tasks
        self._listing = listing
        self._watching = watching
        self._watches = watches
        self._default_attempts = default_attempts

    async def CreateTask(
        self, request: task_service_pb2.CreateTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Accept a task."""
        created = await self._tasks.create(current_principal(), self._new(request))
        return convert.task_to_proto(created)

    async def BatchCreateTasks(
        self, request: task_service_pb2.BatchCreateTasksRequest, context: Context
    ) -> task_service_pb2.BatchCreateTasksResponse:
        """Accept tasks, each by itself."""
        results = await self._create_many(request.requests)
        return task_service_pb2.BatchCreateTasksResponse(results=results)

    async def StreamCreateTasks(
        self,
        request_iterator: AsyncIterator[task_service_pb2.StreamCreateTasksRequest],
        context: Context,
    ) -> AsyncIterator[task_service_pb2.StreamCreateTasksResponse]:
        """Accept tasks on a stream; several requests are under way at a time."""
        answers: asyncio.Queue[asyncio.Task[list[task_service_pb2.CreateTaskResult]] | None]
        answers = asyncio.Queue()
        room = asyncio.Semaphore(_STREAMED_AT_A_TIME)

        async def take() -> None:
            try:
                async for request in request_iterator:
                    await room.acquire()
                    answers.put_nowait(asyncio.create_task(self._create_many(request.requests)))
            finally:
                answers.put_nowait(None)

        taking = asyncio.create_task(take())
        try:
            while (answer := await answers.get()) is not None:
                yield task_service_pb2.StreamCreateTasksResponse(results=await answer)
                room.release()
            await taking
        finally:
            taking.cancel()

    async def RunTask(
        self, request: task_service_pb2.RunTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Accept a task and wait for its end."""
        new = convert.new_task_from_proto(
            request.task, request.request_id, default_attempts=self._default_attempts
        )
        wait = request.wait.ToNanoseconds() / 1e9 if request.HasField("wait") else _WAIT_SECONDS
        task = await self._tasks.create(current_principal(), new)
        return convert.task_to_proto(await self._watching.wait(task, wait))

    async def GetTask(
        self, request: task_service_pb2.GetTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Get one task."""
        task = await self._tasks.get(current_principal().tenant, UUID(request.task_id))
        return convert.task_to_proto(task)

    async def ListTasks(
        self, request: task_service_pb2.ListTasksRequest, context: Context
    ) -> task_service_pb2.ListTasksResponse:
        """List tasks."""
        page = await self._listing.page(
            current_principal().tenant,
            request.filter,
            request.order_by,
            request.page_size,
            request.page_token,
        )
        return task_service_pb2.ListTasksResponse(
            tasks=[convert.task_to_proto(task, with_payloads=False) for task in page.items],
            next_page_token=page.next_page_token,
        )

    async def CountTasks(
        self, request: task_service_pb2.CountTasksRequest, context: Context
    ) -> task_service_pb2.CountTasksResponse:
        """Count tasks by state."""
        counts = await self._listing.counts(current_principal().tenant, request.filter)
        return task_service_pb2.CountTasksResponse(
            counts=[
                task_service_pb2.StateCount(
                    state=convert.STATES[each.state], count=each.count, at_least=each.at_least
                )
                for each in counts
            ]
        )

    async def WatchTasks(
        self, request: task_service_pb2.WatchTasksRequest, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Stream the changes of many tasks."""
        watch = watch_from_proto(request, current_principal().tenant)

        async def established(position: int) -> None:
            await context.send_initial_metadata(((OFFSET_KEY, offset_of(position)),))

        async with aclosing(self._watches.follow(watch, established)) as changes:
            async for event, task in changes:
                yield convert.event_to_proto(event, task, offset=offset_of(event.position))

    async def UpdateTask(
        self, request: task_service_pb2.UpdateTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Change a task."""
        update = update_from_proto(request, current_principal().tenant)
        return convert.task_to_proto(await self._tasks.update(update))

    async def CancelTask(
        self, request: task_service_pb2.CancelTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Call a task off."""
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else None
        tenant = current_principal().tenant
        task = await self._tasks.cancel(tenant, UUID(request.task_id), grace)
        return convert.task_to_proto(task)

    async def ResumeTask(
        self, request: task_service_pb2.ResumeTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Answer a paused task."""
        check_value("answer", request.answer, MOST_BESIDE)
        task = await self._tasks.resume(
            current_principal().tenant,
            UUID(request.task_id),
            request.answer.SerializeToString(),
            reject=request.reject,
        )
        return convert.task_to_proto(task)

    async def RetryTask(
        self, request: task_service_pb2.RetryTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Run a task again."""
        task_id = UUID(request.task_id)
        task = await self._tasks.retry(current_principal(), task_id, request.request_id)
        return convert.task_to_proto(task)

    async def ListAttempts(
        self, request: task_service_pb2.ListAttemptsRequest, context: Context
    ) -> task_service_pb2.ListAttemptsResponse:
        """List the attempts of a task."""
        tenant = current_principal().tenant
        changes = await self._tasks.changes(tenant, UUID(request.task_id))
        return task_service_pb2.ListAttemptsResponse(attempts=attempts_to_proto(changes))

    async def WatchTask(
        self, request: task_service_pb2.WatchTaskRequest, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Stream a task's changes to the terminal one."""
        tenant, task_id = current_principal().tenant, UUID(request.task_id)
        watched = self._watching.follow(tenant, task_id, request.after_sequence)
        async with aclosing(watched) as changes:
            async for event, task in changes:
                yield convert.event_to_proto(event, task)

    async def _create_many(
        self, requests: Iterable[task_service_pb2.CreateTaskRequest]
    ) -> list[task_service_pb2.CreateTaskResult]:
        wanted = [self._new_or_refusal(request) for request in requests]
        outcomes = await self._tasks.create_many(current_principal(), wanted)
        return [
            task_service_pb2.CreateTaskResult(error=to_status(outcome, ""))
            if isinstance(outcome, DomainError)
            else task_service_pb2.CreateTaskResult(task_id=str(outcome))
            for outcome in outcomes
        ]

    def _new_or_refusal(self, request: task_service_pb2.CreateTaskRequest) -> NewTask | DomainError:
        try:
            check_bounds(request)
            return self._new(request)
        except DomainError as refusal:
            return refusal

    def _new(self, request: task_service_pb2.CreateTaskRequest) -> NewTask:
        return convert.new_task_from_proto(
            request.task, request.request_id, default_attempts=self._default_attempts
        )
