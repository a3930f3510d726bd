"""How long an agent that holds no stream takes to claim one task of a queue."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf import duration_pb2

from bench.direct import DirectConnection
from bench.load import Server
from mesh.registry.v1 import agent_pb2, registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import (
    dispatch_service_pb2,
    dispatch_service_pb2_grpc,
    task_pb2,
    task_service_pb2,
    task_service_pb2_grpc,
)

WAIT_SECONDS = 10


class Claimant:
    """Creates tasks while no agent is there to do them; then claims and does them, one by one."""

    def __init__(self, server: Server, capability: str, channel: Any) -> None:
        self._capability = capability
        self._registry: Any = registry_service_pb2_grpc.RegistryServiceStub(channel)
        self._tasks: Any = task_service_pb2_grpc.TaskServiceStub(channel)
        self._dispatch: Any = dispatch_service_pb2_grpc.DispatchServiceStub(channel)
        self._as_agent = (("authorization", f"Bearer {server['agent_key']}"),)
        self._as_caller = (("authorization", f"Bearer {server['admin_key']}"),)

    async def latencies(self, tasks: int) -> list[float]:
        """Return the seconds of each claim."""
        agent_id = await self._register()
        await self._create(tasks)
        return [await self._claim(agent_id) for _ in range(tasks)]

    async def _register(self) -> str:
        capability = agent_pb2.Capability(name=self._capability)
        agent = agent_pb2.Agent(name=f"claimant.{self._capability}", capabilities=[capability])
        request = registry_service_pb2.RegisterAgentRequest(agent=agent)
        registered = await self._registry.RegisterAgent(request, metadata=self._as_agent)
        return str(registered.id)

    async def _create(self, tasks: int) -> None:
        task = task_pb2.Task(capability=self._capability)
        requests = [task_service_pb2.CreateTaskRequest(task=task)] * tasks
        batch = task_service_pb2.BatchCreateTasksRequest(requests=requests)
        await self._tasks.BatchCreateTasks(batch, metadata=self._as_caller)

    async def _claim(self, agent_id: str) -> float:
        request = dispatch_service_pb2.ClaimTasksRequest(
            agent_id=agent_id,
            capabilities=[self._capability],
            max_tasks=1,
            wait=duration_pb2.Duration(seconds=WAIT_SECONDS),
        )
        begun = time.perf_counter()
        claimed = await self._dispatch.ClaimTasks(request, metadata=self._as_agent)
        seconds = time.perf_counter() - begun
        (assignment,) = claimed.assignments
        report = dispatch_service_pb2.Report(
            lease=assignment.lease, completion=dispatch_service_pb2.Completion()
        )
        await self._dispatch.ReportTasks(
            dispatch_service_pb2.ReportTasksRequest(agent_id=agent_id, reports=[report]),
            metadata=self._as_agent,
        )
        return seconds


@asynccontextmanager
async def claimant(server: Server, capability: str) -> AsyncIterator[Claimant]:
    """Connect an agent of a capability, past the gateway."""
    task, registry = (f"http://{server[name]}" for name in ("task", "registry"))
    async with DirectConnection(task, server["agent_key"], registry).channel() as channel:
        yield Claimant(server, capability, channel)
