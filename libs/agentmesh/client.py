"""The client: create tasks, wait for them, watch them."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from grpc import aio

from agentmesh.connection import Connection
from agentmesh.errors import MeshError, TaskFailed, from_rpc_error
from agentmesh.payloads import to_struct
from agentmesh.resources import AgentInfo, NewApiKey, Overview, Task, TaskEvent
from mesh.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc
from mesh.auth.v1 import api_key_pb2, auth_service_pb2, auth_service_pb2_grpc
from mesh.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

_CALL_SECONDS: Final = 15.0
_ATTEMPTS: Final = 5
_BACKOFF_SECONDS: Final = (0.1, 3.0)


class Client:
    """Talks to a mesh for an application.

        async with Client() as client:
            task = await client.run_task("text.greet", {"name": "Ada"})
            print(task.result)

    Calls that a retry can't harm are repeated while the mesh is briefly away; a
    creation carries a request id, so it is one of them.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        """Choose the mesh; see `Connection.resolve` for what holds without arguments."""
        self._connection = Connection.resolve(url, api_key)

    async def __aenter__(self) -> Self:
        """Open the channel."""
        self._channel = self._connection.channel()
        self._tasks = task_service_pb2_grpc.TaskServiceStub(self._channel)
        self._agents = registry_service_pb2_grpc.RegistryServiceStub(self._channel)
        self._analytics = analytics_service_pb2_grpc.AnalyticsServiceStub(self._channel)
        self._auth = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel."""
        await self._channel.close()

    async def create_task(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        max_attempts: int = 0,
        request_id: str | None = None,
    ) -> Task:
        """Create a task and return it as soon as it is durable.

        Args:
            capability: What an agent must be able to do.
            input: A JSON object: a mapping, dataclass or pydantic model.
            priority: 0 (last) to 9 (first).
            labels: To find it by.
            max_attempts: Most attempts; 0 for the mesh's default.
            request_id: Makes repeats of this call harmless; one is made if not given.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        task = task_pb2.Task(
            capability=capability,
            input=to_struct({} if input is None else input),
            priority=priority,
            labels=labels,
            max_attempts=max_attempts,
        )
        request = task_service_pb2.CreateTaskRequest(
            task=task, request_id=request_id or str(uuid.uuid4())
        )
        return Task.from_proto(await self._call(self._tasks.CreateTask, request))

    async def get_task(self, task_id: str) -> Task:
        """Return a task.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        return Task.from_proto(await self._call(self._tasks.GetTask, request))

    async def list_tasks(self, filter: str = "") -> AsyncIterator[Task]:  # noqa: A002 - the contract's word
        """Yield tasks, the newest first, page by page as they are asked for.

        Args:
            filter: For example `state = RUNNING AND capability = "text.greet"`.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        token = ""
        while True:
            request = task_service_pb2.ListTasksRequest(filter=filter, page_token=token)
            page = await self._call(self._tasks.ListTasks, request)
            for task in page.tasks:
                yield Task.from_proto(task)
            token = page.next_page_token
            if not token:
                return

    async def cancel_task(self, task_id: str) -> Task:
        """Call a task off.

        Raises:
            MeshError: There is none, or it has ended otherwise.
        """
        request = task_service_pb2.CancelTaskRequest(task_id=task_id)
        return Task.from_proto(await self._call(self._tasks.CancelTask, request))

    async def watch_task(self, task_id: str, after: int = 0) -> AsyncGenerator[TaskEvent, None]:
        """Yield a task's changes in order to its end, across reconnections without a gap.

        Args:
            task_id: Id of the task.
            after: Sequence of the last event already seen; 0 for all.

        Raises:
            MeshError: There is no such task, or the mesh stays away.
        """
        failures = 0
        while True:
            try:
                async with aclosing(self._watch_once(task_id, after)) as events:
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
                if not error.is_transient or failures >= _ATTEMPTS:
                    raise
            await _pause(failures)

    async def wait_task(self, task_id: str) -> Task:
        """Wait for a task's end and return it, however it ended.

        Raises:
            MeshError: There is no such task, or the mesh stays away.
        """
        async with aclosing(self.watch_task(task_id)) as events:
            async for event in events:
                if event.task.is_done:
                    break
        return await self.get_task(task_id)

    async def run_task(self, capability: str, input: Any = None, **options: Any) -> Task:  # noqa: A002 - the contract's word
        """Create a task, wait for it, and return it succeeded.

        Takes the options of `create_task`.

        Raises:
            TaskFailed: It failed or was cancelled.
            MeshError: The mesh refuses it or can't be reached.
        """
        created = await self.create_task(capability, input, **options)
        task = await self.wait_task(created.id)
        if task.error is not None and task.state == "FAILED":
            raise TaskFailed(task.error.message, type=task.error.type)
        if task.state != "SUCCEEDED":
            raise TaskFailed(f"task {task.id} was {task.state.lower()}", type=task.state)
        return task

    async def list_agents(self, filter: str = "") -> list[AgentInfo]:  # noqa: A002 - the contract's word
        """Return the agents that the filter names, the newest first, at most 1000."""
        request = registry_service_pb2.ListAgentsRequest(filter=filter, page_size=1000)
        response = await self._call(self._agents.ListAgents, request)
        return [AgentInfo.from_proto(agent) for agent in response.agents]

    async def overview(self, since: datetime | None = None) -> Overview:
        """Return what the fleet did and how well, of tasks that ended at `since` or later.

        Raises:
            MeshError: The key may not, or the mesh can't be reached.
        """
        request = analytics_service_pb2.GetOverviewRequest()
        if since is not None:
            request.start_time.FromDatetime(since)
        return Overview.from_proto(await self._call(self._analytics.GetOverview, request))

    async def create_api_key(self, display_name: str, roles: Sequence[str]) -> NewApiKey:
        """Create an API key and return it with its secret, which can't be had again.

        Not repeated if the reply is lost: a key that nobody knows is better never made.

        Args:
            display_name: What the key is for, in words.
            roles: Of `viewer`, `analyst`, `operator`, `admin` and `agent`.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        key = api_key_pb2.ApiKey(display_name=display_name, roles=roles)
        request = auth_service_pb2.CreateApiKeyRequest(api_key=key)
        return NewApiKey.from_proto(await self._call(self._auth.CreateApiKey, request, attempts=1))

    async def revoke_api_key(self, api_key_id: str) -> None:
        """End an API key for good; one that is revoked already stays so.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        request = auth_service_pb2.RevokeApiKeyRequest(api_key_id=api_key_id)
        await self._call(self._auth.RevokeApiKey, request)

    async def _watch_once(self, task_id: str, after: int) -> AsyncGenerator[TaskEvent, None]:
        request = task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
        call = self._tasks.WatchTask(request, metadata=self._connection.metadata)
        try:
            async for event in call:
                yield TaskEvent.from_proto(event)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def _call(self, method: Any, request: Any, *, attempts: int = _ATTEMPTS) -> Any:
        for attempt in range(1, attempts + 1):
            try:
                return await method(
                    request, metadata=self._connection.metadata, timeout=_CALL_SECONDS
                )
            except aio.AioRpcError as rpc_error:
                error = from_rpc_error(rpc_error)
                if not error.is_transient or attempt == attempts:
                    raise error from rpc_error
            await _pause(attempt)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover


async def _pause(attempt: int) -> None:
    longest = min(_BACKOFF_SECONDS[0] * 2**attempt, _BACKOFF_SECONDS[1])
    await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter
