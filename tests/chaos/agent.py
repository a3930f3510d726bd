"""An agent as a process: `python -m tests.chaos.agent`, its orders as JSON in CHAOS_AGENT.

It does everything that agents do wrong: reports twice and out of order, reports on
leases that are long lost, claims to hold what it does not hold, and vanishes without a
word to come back with what it holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from grpc import aio

from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from mesh.task.v1 import dispatch_service_pb2 as api
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from tests.chaos.connecting import channel_to, credential
from tests.chaos.duties import Duties, Lease, Said, lease_message
from tests.chaos.history import History
from tests.chaos.work import CAPABILITY

VARIABLE: Final = "CHAOS_AGENT"
_AT_A_TIME: Final = 200
_MOST_HELD: Final = 2000
_BEAT: Final = 1.0
_PAUSE: Final = 0.2


@dataclass(frozen=True)
class Orders:
    """What an agent is called, and where it connects."""

    number: int
    slots: int
    targets: list[str]
    registry: str
    key: str
    directory: str


class Agent:
    """Keeps a dispatch stream, and misbehaves."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        # A process that was started again need not do the same again.
        self._chance = random.Random()  # noqa: S311 - misbehaviour, no secret
        history = History(Path(orders.directory) / f"agent-{orders.number}.jsonl")
        self._duties = Duties(history, self._chance)
        self._process_id = str(uuid4())
        self._metadata = credential(orders.key)

    async def run(self) -> None:
        """Work until killed."""
        agent_id = await self._register()
        while True:
            target = self._chance.choice(self._orders.targets)
            with suppress(aio.AioRpcError, TimeoutError, asyncio.InvalidStateError):
                async with channel_to([target]) as channel:
                    await self._be_connected(channel, agent_id)
            await asyncio.sleep(_PAUSE)

    async def _register(self) -> str:
        agent = agent_pb2.Agent(
            name=f"chaos-{self._orders.number}",
            capabilities=[agent_pb2.Capability(name=CAPABILITY)],
        )
        request = registry_service_pb2.RegisterAgentRequest(agent=agent)
        async with channel_to([self._orders.registry]) as channel:
            stub = RegistryServiceStub(channel)
            while True:
                with suppress(aio.AioRpcError):
                    call = stub.RegisterAgent(request, timeout=5, metadata=self._metadata)
                    return str((await call).id)
                await asyncio.sleep(_PAUSE)

    async def _be_connected(self, channel: aio.Channel, agent_id: str) -> None:
        call = DispatchServiceStub(channel).Dispatch(metadata=self._metadata)
        lies = self._duties.lies()
        hello = api.Hello(
            agent_id=agent_id,
            slots=self._orders.slots,
            capabilities=[CAPABILITY],
            holding=[*map(lease_message, lies), *self._duties.holding()][:_MOST_HELD],
            process_id=self._process_id,
        )
        self._duties.connect()
        await call.write(api.DispatchRequest(hello=hello))
        helpers = [asyncio.create_task(each) for each in (self._send(call), self._beat())]
        vanishes_after = self._chance.randrange(50, 1000)
        try:
            while vanishes_after > 0:
                message: Any = await call.read()
                if message is aio.EOF:
                    return
                vanishes_after -= len(message.assignments.assignments)
                if self._take(message, lies):
                    return
        finally:
            call.cancel()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    def _take(self, message: api.DispatchResponse, lies: list[Lease]) -> bool:
        """Take a message; return whether the stream is over."""
        match message.WhichOneof("message"):
            case "welcome":
                self._duties.found_out(lies, message.welcome.lost)
                self._duties.forget(message.welcome.lost)
                self._duties.say_again()
            case "assignments":
                self._duties.begin(message.assignments.assignments)
            case "receipts":
                self._duties.settle(message.receipts.receipts)
            case "cancellations":
                self._duties.forget(message.cancellations.leases)
            case "cancel_requests":
                self._duties.stop(message.cancel_requests.leases)
        return message.HasField("drain")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            holding = self._duties.holding()[:_MOST_HELD]
            beat = api.DispatchRequest(heartbeat=api.Heartbeat(holding=holding))
            self._duties.outgoing.put_nowait(beat)

    async def _send(self, call: Any) -> None:
        outgoing = self._duties.outgoing
        while True:
            first = await outgoing.get()
            if isinstance(first, api.DispatchRequest):
                await call.write(first)
                continue
            reports: list[Said] = [first]
            while not outgoing.empty() and len(reports) < _AT_A_TIME:
                following = outgoing.get_nowait()
                if isinstance(following, api.DispatchRequest):
                    await call.write(following)
                else:
                    reports.append(following)
            self._duties.sent(reports)
            told = api.Reports(reports=[each.report for each in reports])
            await call.write(api.DispatchRequest(reports=told))


if __name__ == "__main__":
    asyncio.run(Agent(Orders(**json.loads(os.environ[VARIABLE]))).run())
