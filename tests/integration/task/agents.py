"""An agent as a test drives it: every message of its stream by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
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

_PATIENCE = 30.0
NOTHING: Mapping[str, str] = {}


@dataclass
class HandAgent:
    """One dispatch stream; messages are read until the wanted kind comes."""

    id: str
    call: Any
    welcome: dispatch.Welcome = field(default_factory=dispatch.Welcome)
    assigned: list[dispatch.Assignment] = field(default_factory=list)
    lost: list[dispatch.Lease] = field(default_factory=list)

    async def next(self, kind: str) -> Any:
        """Read on to the next message of this kind; raise if the stream ends first.

        Assignments and lost leases on the way are kept.
        """
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await self.call.read()
                if message is aio.EOF:
                    raise AssertionError(f"the stream ended before any {kind}")
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)
                self.assigned.extend(message.assignments.assignments)
                self.lost.extend(message.cancellations.leases)

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
            receipts.extend((await self.next("receipts")).receipts)
        return receipts

    async def beat(self, *leases: dispatch.Lease) -> None:
        """Send a heartbeat for these leases."""
        heartbeat = dispatch.Heartbeat(holding=leases)
        await self.call.write(dispatch.DispatchRequest(heartbeat=heartbeat))

    async def leave(self) -> None:
        """Say that it wants no more tasks, and wait until it is told that there are none."""
        await self.call.write(dispatch.DispatchRequest(leaving=dispatch.Leaving()))
        await self.next("drain")

    async def resize(self, slots: int) -> None:
        """Ask for more or fewer tasks at a time."""
        credits_ = dispatch.Credits(slots=slots)
        await self.call.write(dispatch.DispatchRequest(credits=credits_))


async def register(
    channel: aio.Channel,
    name: str,
    capabilities: Sequence[str],
    *,
    labels: Mapping[str, str] = NOTHING,
    version: str = "",
) -> str:
    """Register an agent, with one version of all that it can do, and return its id."""
    agent = agent_pb2.Agent(
        name=name,
        labels=labels,
        capabilities=[agent_pb2.Capability(name=each, version=version) for each in capabilities],
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
    process_id: str = "",
    labels: Mapping[str, str] = NOTHING,
    version: str = "",
    build_id: str = "",
    merges_receipts: bool = False,
) -> AsyncIterator[HandAgent]:
    """Register and connect an agent; its stream is cut at the end."""
    agent_id = await register(channel, name, capabilities, labels=labels, version=version)
    call = DispatchServiceStub(channel).Dispatch()
    hello = dispatch.Hello(
        agent_id=agent_id,
        slots=slots,
        capabilities=capabilities,
        holding=holding,
        process_id=process_id,
        build_id=build_id,
        merges_receipts=merges_receipts,
    )
    await call.write(dispatch.DispatchRequest(hello=hello))
    agent = HandAgent(agent_id, call)
    agent.welcome = await agent.next("welcome")
    try:
        yield agent
    finally:
        call.cancel()


def done(lease: dispatch.Lease, result: str = "done", **fields: Any) -> dispatch.Report:
    """Report a task as done."""
    completion = dispatch.Completion(result=Value(string_value=result), **fields)
    return dispatch.Report(lease=lease, completion=completion)


def failed(
    lease: dispatch.Lease, *, retryable: bool = True, kind: str = "Boom", **fields: Any
) -> dispatch.Report:
    """Report an attempt as failed with an error of this type."""
    error = task_pb2.TaskError(type=kind, message="it went wrong")
    failure = dispatch.Failure(error=error, retryable=retryable, **fields)
    return dispatch.Report(lease=lease, failure=failure)


def progress(lease: dispatch.Lease, fraction: float) -> dispatch.Report:
    """Report progress."""
    return dispatch.Report(lease=lease, progress=task_pb2.TaskProgress(fraction=fraction))


def released(lease: dispatch.Lease) -> dispatch.Report:
    """Give a task back."""
    return dispatch.Report(lease=lease, release=dispatch.Release())


def alive(lease: dispatch.Lease, checkpoint: str | None = None, **fields: Any) -> dispatch.Report:
    """Give a sign of life of the handler."""
    value = None if checkpoint is None else Value(string_value=checkpoint)
    return dispatch.Report(
        lease=lease, heartbeat=dispatch.TaskHeartbeat(checkpoint=value, **fields)
    )


def output(lease: dispatch.Lease, data: bytes) -> dispatch.Report:
    """Stream a piece of output."""
    return dispatch.Report(lease=lease, output=task_pb2.OutputChunk(data=data))


def paused(
    lease: dispatch.Lease,
    kind: task_pb2.TaskPause.Kind.ValueType = task_pb2.TaskPause.KIND_INPUT_REQUIRED,
    prompt: str = "Which one?",
) -> dispatch.Report:
    """Hand a task back to wait for an answer."""
    return dispatch.Report(lease=lease, pause=task_pb2.TaskPause(kind=kind, prompt=prompt))


def stopped(lease: dispatch.Lease) -> dispatch.Report:
    """Report a task as stopped, as was asked."""
    return dispatch.Report(lease=lease, stopped=dispatch.Stopped())
