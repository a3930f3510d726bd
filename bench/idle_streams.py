"""A process that holds many dispatch streams, each on a connection of its own.

Run by `bench.idle_agents`, which gives it BENCH_STREAMS and reads a JSON line of where it
stands several times a second. By raw stubs, for the client is to cost little.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from grpc import aio

from mesh.registry.v1 import agent_pb2, registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import dispatch_service_pb2, dispatch_service_pb2_grpc

REGISTRY_SECONDS = 10.0
REPORT_SECONDS = 0.1
BACKOFF_SECONDS = (0.2, 2.0)
AT_A_TIME = 50
OPTIONS = [
    # As the SDK has them.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]

Request = dispatch_service_pb2.DispatchRequest


@dataclass(frozen=True)
class Plan:
    """What this process is to hold: agents `first` to `first + count - 1`."""

    task: str
    registry: str
    key: str
    first: int
    count: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call carries."""
        return (("authorization", f"Bearer {self.key}"),)


def capability(number: int) -> str:
    """Return what one agent alone can do."""
    return f"idle.a{number}"


class IdleAgent:
    """One agent: its stream, its heartbeats, and the tasks it is given.

    Attributes:
        agent_id: As the registry gave it.
        welcomed: When it was last welcomed, by the monotonic clock; 0 while it has no stream.
        done: Tasks whose completion has its receipt.
    """

    def __init__(self, number: int, agent_id: str, plan: Plan) -> None:
        self.welcomed = 0.0
        self.done = 0
        self.agent_id = agent_id
        self._capability = capability(number)
        self._plan = plan
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Hold a stream, again and again, until cancelled."""
        delay = BACKOFF_SECONDS[0]
        async with aio.insecure_channel(self._plan.task, options=OPTIONS) as channel:
            stub = dispatch_service_pb2_grpc.DispatchServiceStub(channel)
            while True:
                call: Any = stub.Dispatch(metadata=self._plan.metadata)
                try:
                    await self._hold(call)
                except (aio.AioRpcError, asyncio.InvalidStateError):
                    call.cancel()
                delay = BACKOFF_SECONDS[0] if self.welcomed else min(delay * 2, BACKOFF_SECONDS[1])
                self.welcomed = 0.0
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _hold(self, call: Any) -> None:
        hello = dispatch_service_pb2.Hello(
            agent_id=self.agent_id, slots=1, capabilities=[self._capability]
        )
        await self._write(call, Request(hello=hello))
        response = await call.read()
        if response is aio.EOF:
            return
        self.welcomed = time.monotonic()
        interval = response.welcome.idle_heartbeat_interval.ToTimedelta().total_seconds()
        beating = asyncio.create_task(self._beat(call, interval))
        try:
            while (response := await call.read()) is not aio.EOF:
                await self._take(call, response)
        finally:
            beating.cancel()

    async def _take(self, call: Any, response: dispatch_service_pb2.DispatchResponse) -> None:
        self.done += sum(receipt.accepted for receipt in response.receipts.receipts)
        reports = [
            dispatch_service_pb2.Report(
                lease=assignment.lease, completion=dispatch_service_pb2.Completion()
            )
            for assignment in response.assignments.assignments
        ]
        if reports:
            await self._write(call, Request(reports=dispatch_service_pb2.Reports(reports=reports)))

    async def _beat(self, call: Any, interval: float) -> None:
        await asyncio.sleep(random.uniform(0, interval))  # noqa: S311 - spread
        while True:
            await self._write(call, Request(heartbeat=dispatch_service_pb2.Heartbeat()))
            await asyncio.sleep(interval)

    async def _write(self, call: Any, request: Request) -> None:
        async with self._writing:
            await call.write(request)


class Registry:
    """Registers the agents, and keeps them registered."""

    def __init__(self, channel: aio.Channel, plan: Plan) -> None:
        self._stub: Any = registry_service_pb2_grpc.RegistryServiceStub(channel)
        self._plan = plan
        self._turn = asyncio.Semaphore(AT_A_TIME)

    async def register(self, number: int) -> IdleAgent:
        """Register an agent."""
        agent = agent_pb2.Agent(
            name=f"idle-{number}", capabilities=[agent_pb2.Capability(name=capability(number))]
        )
        request = registry_service_pb2.RegisterAgentRequest(agent=agent)
        async with self._turn:
            registered = await self._stub.RegisterAgent(request, metadata=self._plan.metadata)
        return IdleAgent(number, registered.id, self._plan)

    async def keep(self, agent_id: str) -> None:
        """Send heartbeats until cancelled."""
        request = registry_service_pb2.HeartbeatAgentRequest(agent_id=agent_id)
        await asyncio.sleep(random.uniform(0, REGISTRY_SECONDS))  # noqa: S311 - spread
        while True:
            # One that is lost is made up for by the next.
            with suppress(aio.AioRpcError):
                await self._stub.HeartbeatAgent(request, metadata=self._plan.metadata)
            await asyncio.sleep(REGISTRY_SECONDS)


@dataclass(frozen=True)
class Standing:
    """Where a process, or all of them together, stand.

    Attributes:
        held: Streams that have had their welcome.
        oldest: When the first of them had it, by the monotonic clock; 0 for none.
        latest: When the last of them had it.
        done: Tasks done so far.
    """

    held: int
    oldest: float
    latest: float
    done: int

    @classmethod
    def of(cls, agents: Sequence[IdleAgent]) -> Standing:
        """Return where some agents stand."""
        welcomed = [agent.welcomed for agent in agents if agent.welcomed]
        return cls(
            held=len(welcomed),
            oldest=min(welcomed, default=0.0),
            latest=max(welcomed, default=0.0),
            done=sum(agent.done for agent in agents),
        )


async def hold(plan: Plan) -> None:
    """Register and hold all, and say where they stand, until ended."""
    async with aio.insecure_channel(plan.registry) as channel:
        registry = Registry(channel, plan)
        numbers = range(plan.first, plan.first + plan.count)
        agents = await asyncio.gather(*(registry.register(number) for number in numbers))
        async with asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(agent.run())
                group.create_task(registry.keep(agent.agent_id))
            group.create_task(_say(agents))


async def _say(agents: Sequence[IdleAgent]) -> None:
    while True:
        print(json.dumps(asdict(Standing.of(agents))), flush=True)
        await asyncio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    asyncio.run(hold(Plan(**json.loads(os.environ["BENCH_STREAMS"]))))
