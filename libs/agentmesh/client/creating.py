"""Creating tasks, one or many, and running them to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Literal, Unpack, overload

from agentmesh.client.caller import CALL_SECONDS, Caller
from agentmesh.client.creation_stream import CreationStream
from agentmesh.client.new_task import NewTask, TaskOptions, creation_of
from agentmesh.client.results import succeeded, with_result
from agentmesh.errors import MeshError
from agentmesh.resources import Task
from mesh.task.v1 import task_service_pb2, task_service_pb2_grpc

_WAIT_SECONDS: Final = 60
# Tasks that are encoded before others get a turn.
_AT_A_STRETCH: Final = 200


class Creating:
    """The part of a client that creates tasks."""

    _caller: Caller
    _creations: CreationStream

    async def create_task(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create a task and return it as soon as it is durable.

        The task that is returned is what was sent, with its id: its state is `QUEUED`, or
        `SCHEDULED` if it has something to wait for. `get_task` says how it really is, which
        matters where a request id had made the task before. Calls that are made at the same
        time travel together; a repeat after a lost answer makes nothing twice.

        Args:
            capability: What an agent must be able to do.
            input: A JSON value: a mapping, dataclass, pydantic model, list and so on; bytes,
                or `Content` with a media type. What is large is uploaded first.
            **options: See `TaskOptions`.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        request = await self._prepared(capability, input, options)
        return Task.accepted(request.task, await self._creations.submit(request))

    @overload
    async def create_tasks(self, tasks: Iterable[NewTask]) -> list[Task]: ...

    @overload
    async def create_tasks(
        self, tasks: Iterable[NewTask], *, return_exceptions: Literal[True]
    ) -> list[Task | MeshError]: ...

    async def create_tasks(
        self, tasks: Iterable[NewTask], *, return_exceptions: bool = False
    ) -> list[Task] | list[Task | MeshError]:
        """Create many tasks, each by itself, and return them in their order.

        One that is refused doesn't keep the others out. By default the first refusal is
        raised, once all are decided; with `return_exceptions`, refusals are returned in
        the places of the tasks.

        Raises:
            MeshError: The mesh refuses one or can't be reached.
        """
        prepared = []
        for number, each in enumerate(tasks, 1):
            prepared.append(await self._prepared(each.capability, each.input, each.options))
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        answers = await asyncio.gather(
            *(self._creations.submit(request) for request in prepared), return_exceptions=True
        )
        created: list[Any] = []
        for request, answer in zip(prepared, answers, strict=True):
            if isinstance(answer, BaseException):
                if not (return_exceptions and isinstance(answer, MeshError)):
                    raise answer
                created.append(answer)
            else:
                created.append(Task.accepted(request.task, answer))
        return created

    async def run_task(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create a task, wait for its end however long it takes, and return it succeeded.

        Takes what `create_task` takes. To wait for so long only, put it in an
        `asyncio.timeout`; the task itself goes on.

        Raises:
            TaskFailed: It failed, was cancelled or given up; `TaskFailed.task` is the task.
            MeshError: The mesh refuses it or can't be reached.
        """
        created = await self._prepared(capability, input, options)
        request = task_service_pb2.RunTaskRequest(task=created.task, request_id=created.request_id)
        request.wait.FromSeconds(_WAIT_SECONDS)
        stub = task_service_pb2_grpc.TaskServiceStub(self._caller.channel)
        while True:
            message = await self._caller.call(
                stub.RunTask, request, seconds=_WAIT_SECONDS + CALL_SECONDS
            )
            task = Task.from_proto(message)
            if task.is_done:
                return succeeded(await with_result(self._caller, task))

    async def _prepared(
        self,
        capability: str,
        input: Any,  # noqa: A002 - the contract's word
        options: TaskOptions,
    ) -> task_service_pb2.CreateTaskRequest:
        request, large = creation_of(capability, input, options)
        if large is not None:
            request.task.input_payload.CopyFrom(await self._caller.blobs.store(large))
        return request
