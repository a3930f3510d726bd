"""Calls by the stubs themselves: each is tried once, at whatever replica there is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from grpc import aio

from agentmesh.client.new_task import NewTask, creation_of
from agentmesh.errors import from_rpc_error
from mesh.task.v1 import task_pb2
from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.chaos.calls import Followed
from tests.chaos.connecting import channel_to, credential

_DEADLINE: Final = 8.0
_WAIT: Final = 5
_PAUSE: Final = 0.2


class RawCalls:
    """Calls the replicas in turn."""

    def __init__(self, targets: Sequence[str], key: str) -> None:
        self._stub = TaskServiceStub(channel_to(targets))
        self._metadata = credential(key)

    async def create(self, task: NewTask) -> str:
        """Create a task and return its id."""
        return str((await self._call(self._stub.CreateTask, _creation(task))).id)

    async def create_all(self, tasks: Sequence[NewTask]) -> list[str]:
        """Create tasks and return their ids, empty for one that was refused."""
        batch = api.BatchCreateTasksRequest(requests=map(_creation, tasks))
        made = await self._call(self._stub.BatchCreateTasks, batch)
        return [each.task_id for each in made.results]

    async def cancel(self, task_id: str, grace: float | None) -> None:
        """Call a task off."""
        request = api.CancelTaskRequest(task_id=task_id)
        if grace is not None:
            request.grace.FromNanoseconds(round(grace * 1e9))
        await self._call(self._stub.CancelTask, request)

    async def run(self, task: NewTask) -> Followed:
        """Create a task and wait for its end in one."""
        creation = _creation(task)
        request = api.RunTaskRequest(task=creation.task, request_id=creation.request_id)
        request.wait.FromSeconds(_WAIT)
        while True:
            ran = await self._call(self._stub.RunTask, request)
            if ran.HasField("end_time"):
                return Followed(ran.id, _state(ran))

    async def watch(self, task: NewTask) -> Followed:
        """Create a task and follow its events to its end, at one replica after the other."""
        task_id = await self.create(task)
        sequences: list[int] = []
        while True:
            request = api.WatchTaskRequest(task_id=task_id, after_sequence=len(sequences))
            with suppress(aio.AioRpcError):
                async for event in self._stub.WatchTask(request, metadata=self._metadata):
                    sequences.append(event.sequence)
                    if event.task.HasField("end_time"):
                        return Followed(task_id, _state(event.task), sequences)
            await asyncio.sleep(_PAUSE)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=_DEADLINE, metadata=self._metadata)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def _creation(task: NewTask) -> api.CreateTaskRequest:
    return creation_of(task.capability, task.input, task.options)[0]


def _state(task: task_pb2.Task) -> str:
    return task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_").lower()
