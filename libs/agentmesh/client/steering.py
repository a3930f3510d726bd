"""Seeing and steering tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from google.protobuf.struct_pb2 import Value

from agentmesh.client.caller import Caller
from agentmesh.client.new_task import id_of
from agentmesh.client.results import with_result
from agentmesh.ids import new_id
from agentmesh.payloads import to_value
from agentmesh.policies import Duration
from agentmesh.policy_messages import set_duration, set_time
from agentmesh.resources import Attempt, Task
from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

_STATE = "TASK_STATE_"


class TaskChanges(TypedDict, total=False):
    """What of a task that hasn't ended can be changed; see `TaskOptions`.

    `schedule_time` can be as long as the task doesn't run; None as `expire_time` ends it.
    """

    priority: int
    labels: Mapping[str, str]
    attributes: Mapping[str, str | float | bool]
    max_attempts: int
    schedule_time: datetime
    expire_time: datetime | None


class Steering:
    """The part of a client that sees and steers tasks; each may be given by its id."""

    _caller: Caller
    _tasks: task_service_pb2_grpc.TaskServiceStub

    async def get_task(self, task: Task | str) -> Task:
        """Return a task as it is now, with its result, however large.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        request = task_service_pb2.GetTaskRequest(task_id=id_of(task))
        found = Task.from_proto(await self._caller.call(self._tasks.GetTask, request))
        return await with_result(self._caller, found)

    async def fetch_input(self, task: Task) -> Any:
        """Return a task's input, however large.

        Raises:
            MeshError: It is gone, or the mesh can't be reached.
        """
        info = task.input_payload
        if info is None or not info.blob_id:
            return task.input
        return await self._caller.blobs.value_of(task.to_proto().input_payload)

    async def fetch_result(self, task: Task) -> Any:
        """Return the result of a task that was listed, however large.

        Raises:
            MeshError: It is gone, or the mesh can't be reached.
        """
        return (await self.get_task(task)).result

    async def list_tasks(
        self,
        filter: str = "",  # noqa: A002 - the contract's word
        *,
        order_by: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[Task]:
        """Yield tasks without input and result, page by page as they are asked for.

        Args:
            filter: For example `state = RUNNING AND labels.team = "red"`.
            order_by: By `create_time` or `priority`; the newest first if it isn't said.
            page_size: Most tasks to be fetched at a time, to 1000; 0 for the mesh's default.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        token = ""
        while True:
            request = task_service_pb2.ListTasksRequest(
                filter=filter, order_by=order_by, page_size=page_size, page_token=token
            )
            page = await self._caller.call(self._tasks.ListTasks, request)
            for task in page.tasks:
                yield Task.from_proto(task)
            token = page.next_page_token
            if not token:
                return

    async def count_tasks(self, filter: str = "") -> dict[str, int]:  # noqa: A002 - the contract's word
        """Count tasks by state, each state exactly up to 100000.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        request = task_service_pb2.CountTasksRequest(filter=filter)
        answer = await self._caller.call(self._tasks.CountTasks, request)
        return {
            task_pb2.TaskState.Name(each.state).removeprefix(_STATE): each.count
            for each in answer.counts
        }

    async def list_attempts(self, task: Task | str) -> list[Attempt]:
        """Return the attempts of a task, the first first.

        Raises:
            MeshError: There is no such task, or the mesh can't be reached.
        """
        request = task_service_pb2.ListAttemptsRequest(task_id=id_of(task))
        answer = await self._caller.call(self._tasks.ListAttempts, request)
        return [Attempt.from_proto(attempt) for attempt in answer.attempts]

    async def cancel_task(self, task: Task | str, *, grace: Duration | None = None) -> Task:
        """Call a task off, and all under it.

        Args:
            task: The task.
            grace: How long its agent has to stop in order; 0 for not at all, None for the
                mesh's default.

        Raises:
            MeshError: There is none, or it has ended otherwise.
        """
        request = task_service_pb2.CancelTaskRequest(task_id=id_of(task))
        if grace is not None:
            set_duration(request.grace, grace)
        return Task.from_proto(await self._caller.call(self._tasks.CancelTask, request))

    async def update_task(
        self, task: Task | str, *, etag: str = "", **changes: Unpack[TaskChanges]
    ) -> Task:
        """Change a task that hasn't ended.

        Args:
            task: The task.
            etag: Refuses the change if the task has changed since it had this etag.
            **changes: See `TaskChanges`.

        Raises:
            MeshError: There is none, it has ended, or the etag is an older one (`ABORTED`).
        """
        message = task_pb2.Task(id=id_of(task), etag=etag)
        for name, value in changes.items():
            if name in ("labels", "attributes"):
                getattr(message, name).update(value)
            elif isinstance(value, datetime):
                set_time(getattr(message, name), value)
            elif value is not None:
                setattr(message, name, value)
        request = task_service_pb2.UpdateTaskRequest(task=message)
        request.update_mask.paths.extend(changes)
        # With an etag, a repeat of a change that was made would be refused.
        attempts = {"attempts": 1} if etag else {}
        return Task.from_proto(await self._caller.call(self._tasks.UpdateTask, request, **attempts))

    async def resume_task(self, task: Task | str, answer: Any = None) -> Task:
        """Answer a paused task: its handler runs again with this as `TaskContext.answer`.

        Raises:
            MeshError: There is none, or it isn't paused.
        """
        return await self._resume(task, to_value(answer), reject=False)

    async def approve_task(self, task: Task | str) -> Task:
        """Say yes to a task that waits for approval; its handler's `answer` is True.

        Raises:
            MeshError: There is none, or it isn't paused.
        """
        return await self._resume(task, to_value(True), reject=False)

    async def reject_task(self, task: Task | str, reason: Any = None) -> Task:
        """Say no to a task that waits for approval: it fails with `ApprovalRejected`.

        Raises:
            MeshError: There is none, or it isn't paused.
        """
        return await self._resume(task, to_value(reason), reject=True)

    async def retry_task(self, task: Task | str, *, request_id: str = "") -> Task:
        """Run a task again: at once if it waits for another attempt, as a copy if it has ended.

        Returns:
            The task that will run, which in the second case is another one.

        Raises:
            MeshError: There is none, or it runs.
        """
        request = task_service_pb2.RetryTaskRequest(
            task_id=id_of(task), request_id=request_id or new_id()
        )
        return Task.from_proto(await self._caller.call(self._tasks.RetryTask, request))

    async def _resume(self, task: Task | str, answer: Value, *, reject: bool) -> Task:
        request = task_service_pb2.ResumeTaskRequest(
            task_id=id_of(task), answer=answer, reject=reject
        )
        return Task.from_proto(await self._caller.call(self._tasks.ResumeTask, request))
