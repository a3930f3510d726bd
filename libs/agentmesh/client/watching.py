"""Following tasks as they change, across reconnections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from agentmesh.client.caller import ATTEMPTS, Begun, Caller, wait_before
from agentmesh.client.new_task import id_of
from agentmesh.errors import MeshError
from agentmesh.resources import Task, TaskEvent
from mesh.task.v1 import task_service_pb2, task_service_pb2_grpc

_OFFSET: Final = "agentmesh-offset"


class Watching(ABC):
    """The part of a client that follows tasks."""

    _caller: Caller
    _tasks: task_service_pb2_grpc.TaskServiceStub

    @abstractmethod
    async def get_task(self, task: Task | str) -> Task:
        """Return a task as it is now."""

    async def watch_task(self, task: Task | str, after: int = 0) -> AsyncGenerator[TaskEvent, None]:
        """Yield a task's changes in order to its end, across reconnections without a gap.

        Args:
            task: The task, or its id.
            after: Sequence of the last event already seen; 0 for all.

        Raises:
            MeshError: There is no such task, or the mesh stays away.
        """
        task_id, failures = id_of(task), 0
        while True:
            request = task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
            try:
                async with aclosing(self._events(self._tasks.WatchTask, request)) as events:
                    async for event in events:
                        yield event
                        after, failures = event.sequence, 0
                        if event.task.is_done:
                            return
                # It ended without an end: all of it may have been seen before.
                if (await self.get_task(task_id)).is_done:
                    return
            except MeshError as error:
                failures += 1
                if not error.is_transient or failures >= ATTEMPTS:
                    raise
            await wait_before(failures)

    async def watch_tasks(
        self,
        filter: str = "",  # noqa: A002 - the contract's word
        *,
        root: Task | str = "",
        after: str = "",
    ) -> AsyncGenerator[TaskEvent, None]:
        """Yield the changes of many tasks as they happen, across reconnections without a gap.

        Of those that a filter matches, without end; or of a task and all under it, to the
        end of all of them. `event.offset` is where to go on later with `after`.

        Args:
            filter: As for `list_tasks`, judged right after each change.
            root: A task without a parent: watch it and all under it, from the beginning.
            after: Offset of the last event already seen; empty for from now on.

        Raises:
            MeshError: The filter can't be read, the offset is too old, or the mesh stays away.
        """
        root_id, failures = id_of(root), 0

        def begun(metadata: Mapping[str, Any]) -> None:
            nonlocal after
            after = metadata.get(_OFFSET) or after

        while True:
            request = task_service_pb2.WatchTasksRequest(
                filter=filter, root_id=root_id, after_offset=after
            )
            try:
                watching = self._events(self._tasks.WatchTasks, request, begun)
                async with aclosing(watching) as events:
                    async for event in events:
                        yield event
                        after, failures = event.offset, 0
                if root_id:
                    return
            except MeshError as error:
                failures += 1
                if not error.is_transient or failures >= ATTEMPTS:
                    raise
            await wait_before(failures)

    async def wait_task(self, task: Task | str) -> Task:
        """Wait for a task's end and return it, however it ended.

        Raises:
            MeshError: There is no such task, or the mesh stays away.
        """
        async with aclosing(self.watch_task(task)) as events:
            async for event in events:
                if event.task.is_done:
                    break
        return await self.get_task(task)

    async def _events(
        self, method: Any, request: Any, begun: Begun | None = None
    ) -> AsyncGenerator[TaskEvent, None]:
        async with aclosing(self._caller.stream(method, request, begun=begun)) as messages:
            async for message in messages:
                yield TaskEvent.from_proto(message)
