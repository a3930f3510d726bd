"""Serves `mesh.task.v1.TaskService`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from uuid import UUID

from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from meshkit.errors import InvalidArgument
from meshkit.filtering import parse_filter
from meshkit.interceptors.chain import Context
from meshkit.paging import page_request, page_token
from meshkit.security.principal import current_principal
from services.task import convert
from services.task.domain import TaskState
from services.task.usecases.tasks import Tasks
from services.task.watching import Watching


class TaskServicer(task_service_pb2_grpc.TaskServiceServicer):
    """The side of callers."""

    def __init__(self, tasks: Tasks, watching: Watching, *, default_attempts: int) -> None:
        self._tasks = tasks
        self._watching = watching
        self._default_attempts = default_attempts

    async def CreateTask(
        self, request: task_service_pb2.CreateTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Accept a task."""
        new = convert.new_task_from_proto(request, default_attempts=self._default_attempts)
        return convert.task_to_proto(await self._tasks.create(current_principal(), new))

    async def GetTask(
        self, request: task_service_pb2.GetTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Get one task."""
        task = await self._tasks.get(current_principal().tenant, UUID(request.task_id))
        return convert.task_to_proto(task)

    async def ListTasks(
        self, request: task_service_pb2.ListTasksRequest, context: Context
    ) -> task_service_pb2.ListTasksResponse:
        """List the tenant's tasks."""
        tenant = current_principal().tenant
        where = _filter(request.filter)
        wanted = page_request(request.page_size, request.page_token, tenant, request.filter)
        page = await self._tasks.list(tenant, where, wanted)
        return task_service_pb2.ListTasksResponse(
            tasks=[convert.task_to_proto(task, with_payloads=False) for task in page.items],
            next_page_token=page_token(page, tenant, request.filter),
        )

    async def CancelTask(
        self, request: task_service_pb2.CancelTaskRequest, context: Context
    ) -> task_pb2.Task:
        """Call a task off."""
        task = await self._tasks.cancel(current_principal().tenant, UUID(request.task_id))
        return convert.task_to_proto(task)

    async def WatchTask(
        self, request: task_service_pb2.WatchTaskRequest, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Stream a task's changes to the terminal one."""
        tenant, task_id = current_principal().tenant, UUID(request.task_id)
        task = await self._tasks.get(tenant, task_id)
        async with aclosing(self._watching.follow(task, request.after_sequence)) as events:
            async for event in events:
                if event.is_last:
                    task = await self._tasks.get(tenant, task_id)
                yield convert.event_to_proto(event, task)


def _filter(expression: str) -> Mapping[str, str]:
    where = dict(parse_filter(expression, ("state", "capability", "agent_id")))
    try:
        if "state" in where:
            where["state"] = TaskState(where["state"].lower())
        if "agent_id" in where:
            UUID(where["agent_id"])
    except ValueError as error:
        raise InvalidArgument(
            f"the filter has no such value: {error}", reason="INVALID_FILTER", field="filter"
        ) from error
    return where
