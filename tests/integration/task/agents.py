"""An agent as a test drives it: every message of its stream by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.struct_pb2 import Value
from grpc import aio

from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub

_PATIENCE = 10.0


@dataclass
class HandAgent:
    """One dispatch stream; messages are read until the wanted kind comes."""

    id: str
    call: Any
    welcome: dispatch.Welcome = field(default_factory=dispatch.Welcome)
    assigned: list[dispatch.Assignment] = field(default_factory=list)

    async def next(self, kind: str) -> Any:
        """Read on to the next message of this kind; raise if the stream ends first."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await self.call.read()
                if message is aio.EOF:
                    raise AssertionError(f"the stream ended before any {kind}")
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)

    async def take(self, count: int = 1) -> list[dispatch.Assignment]:
        """Wait until `count` tasks have been assigned, and return them in order."""
        while len(self.assigned) < count:
            self.assigned.extend((await self.next("assignments")).assignments)
        taken, self.assigned = self.assigned[:count], self.assigned[count:]
        return taken

    async def report(self, *reports: dispatch.Report) -> list[dispatch.Receipt]:
        """Send reports and return their receipts."""
        message = dispatch.Reports(reports=reports)
        await self.call.write(dispatch.DispatchRequest(reports=message))
        receipts: list[dispatch.Receipt] = []
        while len(receipts) < len(reports):
            receipts.extend((await self.next_receipts()).receipts)
        return receipts

    async def next_receipts(self) -> dispatch.Receipts:
        """Read on to the next receipts; assignments on the way are kept for `take`."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await self.call.read()
                if message is aio.EOF:
                    raise AssertionError("the stream ended before a receipt")
                self.assigned.extend(message.assignments.assignments)
                if message.HasField("receipts"):
                    receipts: dispatch.Receipts = message.receipts
                    return receipts

    async def beat(self, *leases: dispatch.Lease) -> None:
        """Send a heartbeat for these leases."""
        heartbeat = dispatch.Heartbeat(holding=leases)
        await self.call.write(dispatch.DispatchRequest(heartbeat=heartbeat))


async def register(channel: aio.Channel, name: str, capabilities: Sequence[str]) -> str:
    """Register an agent and return its id."""
    agent = agent_pb2.Agent(
        name=name, capabilities=[agent_pb2.Capability(name=each) for each in capabilities]
    )
    request = registry_service_pb2.RegisterAgentRequest(agent=agent)
    return str((await RegistryServiceStub(channel).RegisterAgent(request)).id)


@asynccontextmanager
async def connected(
    channel: aio.Channel,
    *capabilities: str,
    name: str = "hand",
    slots: int = 1,
    holding: Sequence[dispatch.Lease] = (),
) -> AsyncIterator[HandAgent]:
    """Register and connect an agent; its stream is cut at the end."""
    agent_id = await register(channel, name, capabilities)
    call = DispatchServiceStub(channel).Dispatch()
    hello = dispatch.Hello(
        agent_id=agent_id, slots=slots, capabilities=capabilities, holding=holding
    )
    await call.write(dispatch.DispatchRequest(hello=hello))
    agent = HandAgent(agent_id, call)
    agent.welcome = await agent.next("welcome")
    try:
        yield agent
    finally:
        call.cancel()


def done(lease: dispatch.Lease, result: str = "done") -> dispatch.Report:
    """Report a task as done."""
    completion = dispatch.Completion(result=Value(string_value=result))
    return dispatch.Report(lease=lease, completion=completion)


def failed(lease: dispatch.Lease, *, retryable: bool) -> dispatch.Report:
    """Report an attempt as failed."""
    error = task_pb2.TaskError(type="Boom", message="it went wrong")
    return dispatch.Report(lease=lease, failure=dispatch.Failure(error=error, retryable=retryable))


def progress(lease: dispatch.Lease, fraction: float) -> dispatch.Report:
    """Report progress."""
    return dispatch.Report(lease=lease, progress=task_pb2.TaskProgress(fraction=fraction))


def released(lease: dispatch.Lease) -> dispatch.Report:
    """Give a task back."""
    return dispatch.Report(lease=lease, release=dispatch.Release())
