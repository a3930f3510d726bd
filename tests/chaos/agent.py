"""An agent as a process: `python -m tests.chaos.agent`, its orders as JSON in CHAOS_AGENT.

It does everything that agents do wrong: reports twice and out of order, reports on
leases that are long lost, and vanishes without a word to come back with what it holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from google.protobuf.struct_pb2 import Value
from grpc import aio

from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from mesh.task.v1 import dispatch_service_pb2 as api
from mesh.task.v1 import task_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from tests.chaos.connecting import channel_to, credential
from tests.chaos.history import History
from tests.chaos.workload import CAPABILITY

VARIABLE: Final = "CHAOS_AGENT"
_AT_A_TIME: Final = 200
_BEAT: Final = 1.0
_PAUSE: Final = 0.2

Lease = tuple[str, int]


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
    """Executes tasks, and misbehaves."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        # A process that was started again need not do the same again.
        self._chance = random.Random()  # noqa: S311 - misbehaviour, no secret
        self._history = History(Path(orders.directory) / f"agent-{orders.number}.jsonl")
        self._process_id = str(uuid4())
        self._metadata = credential(orders.key)
        self._working: dict[Lease, asyncio.Task[None]] = {}
        self._reports: dict[Lease, api.Report] = {}
        self._outgoing: asyncio.Queue[api.DispatchRequest | api.Report] = asyncio.Queue()

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
        holding = [_lease(each) for each in {**self._working, **self._reports}]
        hello = api.Hello(
            agent_id=agent_id,
            slots=self._orders.slots,
            capabilities=[CAPABILITY],
            holding=holding,
            process_id=self._process_id,
        )
        self._outgoing = asyncio.Queue()
        await call.write(api.DispatchRequest(hello=hello))
        helpers = [asyncio.create_task(each) for each in (self._send(call), self._beat())]
        vanishes_after = self._chance.randrange(300, 6000)
        try:
            while vanishes_after > 0:
                message: Any = await call.read()
                if message is aio.EOF:
                    return
                vanishes_after -= len(message.assignments.assignments)
                if self._take(message):
                    return
        finally:
            call.cancel()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    def _take(self, message: api.DispatchResponse) -> bool:
        """Take a message; return whether the stream is over."""
        match message.WhichOneof("message"):
            case "welcome":
                self._be_welcome(message.welcome)
            case "assignments":
                self._begin(message.assignments.assignments)
            case "receipts":
                self._settle(message.receipts.receipts)
            case "cancellations":
                self._forget(message.cancellations.leases)
            case "cancel_requests":
                self._stop(message.cancel_requests.leases)
        return message.HasField("drain")

    def _be_welcome(self, welcome: api.Welcome) -> None:
        self._forget(welcome.lost)
        for report in self._reports.values():
            self._outgoing.put_nowait(report)

    def _begin(self, assignments: Iterable[api.Assignment]) -> None:
        for assignment in assignments:
            lease = (assignment.lease.task_id, assignment.lease.epoch)
            self._history.add(ev="start", task=lease[0], epoch=lease[1], time=time.time())
            self._working[lease] = asyncio.create_task(self._execute(lease, assignment.task))

    async def _execute(self, lease: Lease, task: task_pb2.Task) -> None:
        said = {name: value.number_value for name, value in task.input.fields.items()}
        if "work" not in said:
            self._history.add(ev="hollow", task=lease[0], epoch=lease[1], time=time.time())
            return
        await asyncio.sleep(said["work"])
        report = api.Report(lease=_lease(lease))
        if "final" in said:
            report.failure.error.type = "Final"
        elif "fails" in said and task.attempt <= said["fails"]:
            report.failure.error.type = "Passing"
            report.failure.retryable = True
        elif "release" in said and lease[1] == 1:
            report.release.SetInParent()
        else:
            report.completion.result.CopyFrom(Value(string_value=f"{lease[1]}"))
        await self._report(lease, report)

    async def _report(self, lease: Lease, report: api.Report) -> None:
        draw = self._chance.random()
        if draw < 0.02:
            # Out of order.
            await asyncio.sleep(self._chance.random())
        self._working.pop(lease, None)
        self._reports[lease] = report
        self._outgoing.put_nowait(report)
        if 0.02 < draw < 0.05:
            self._outgoing.put_nowait(report)
        if 0.05 < draw < 0.1 and lease[1] > 1:
            stale = api.Report(lease=_lease((lease[0], lease[1] - 1)), completion=api.Completion())
            self._outgoing.put_nowait(stale)

    def _settle(self, receipts: Iterable[api.Receipt]) -> None:
        for receipt in receipts:
            lease = (receipt.lease.task_id, receipt.lease.epoch)
            report = self._reports.pop(lease, None)
            self._history.add(
                ev="receipt",
                task=lease[0],
                epoch=lease[1],
                kind=report.WhichOneof("report") if report is not None else "again",
                accepted=receipt.accepted,
                time=time.time(),
            )

    def _forget(self, leases: Iterable[api.Lease]) -> None:
        for each in leases:
            lease = (each.task_id, each.epoch)
            # Some don't listen: they go on, and report what nobody wants to know.
            if self._chance.random() < 0.5 and (work := self._working.pop(lease, None)):
                work.cancel()
                self._reports.pop(lease, None)

    def _stop(self, leases: Iterable[api.Lease]) -> None:
        for each in leases:
            lease = (each.task_id, each.epoch)
            if self._chance.random() < 0.8 and (work := self._working.pop(lease, None)):
                work.cancel()
                report = api.Report(lease=each, stopped=api.Stopped())
                self._reports[lease] = report
                self._outgoing.put_nowait(report)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            holding = [_lease(each) for each in {**self._working, **self._reports}]
            self._outgoing.put_nowait(
                api.DispatchRequest(heartbeat=api.Heartbeat(holding=holding[:2000]))
            )

    async def _send(self, call: Any) -> None:
        while True:
            first = await self._outgoing.get()
            if isinstance(first, api.DispatchRequest):
                await call.write(first)
                continue
            reports = [first]
            while not self._outgoing.empty() and len(reports) < _AT_A_TIME:
                following = self._outgoing.get_nowait()
                if isinstance(following, api.DispatchRequest):
                    await call.write(following)
                else:
                    reports.append(following)
            await call.write(api.DispatchRequest(reports=api.Reports(reports=reports)))


def _lease(lease: Lease) -> api.Lease:
    return api.Lease(task_id=lease[0], epoch=lease[1])


if __name__ == "__main__":
    asyncio.run(Agent(Orders(**json.loads(os.environ[VARIABLE]))).run())
