"""Injects faults into a mesh, and undoes them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from grpc import aio

from agentmesh.stack.errors import StackError
from mesh.task.v1 import task_pb2
from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.failpoints import VARIABLE as FAILPOINTS
from tests.chaos.clock_faults import ClockFaults
from tests.chaos.connecting import channel_to, credential
from tests.chaos.disk_faults import fill_disk
from tests.chaos.faults import Fault
from tests.chaos.mesh import LEASE, REPLICAS, SPARE, ChaosMesh
from tests.chaos.work import CAPABILITY

_FAILPOINT_PATIENCE: Final = 12.0
_CUT_PATIENCE: Final = 8.0
_PROVOKE_AFTER: Final = 2.5


class Injector:
    """Injects one fault after the other.

    Attributes:
        points_hit: Crash points that a replica died at.
        skipped: Faults that this machine can't have, and why.
        problems: What was wrong while a fault lasted.
    """

    def __init__(self, mesh: ChaosMesh) -> None:
        self._mesh = mesh
        self._clocks = ClockFaults(mesh)
        self.points_hit: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.problems: list[str] = []
        self._ways: dict[str, Callable[[Fault], Awaitable[float]]] = {
            "kill task": self._kill_service,
            "kill auth": self._kill_service,
            "kill registry": self._kill_service,
            "kill analytics": self._kill_service,
            "kill agent": self._kill_worker,
            "kill client": self._kill_worker,
            "kill postgres": self._kill_postgres,
            "cut after commit": self._cut,
            "stop agent past its lease": self._stop_agent,
            "stop task": self._stop_service,
            "restart task, the next one after": self._restart,
            "restart task, the next one first": self._relieve,
            "wrong host clock of task": self._put_host_clock_wrong,
            "set clock ahead": self._set_clock,
            "set clock back": self._set_clock,
            "fill disk": self._fill_disk,
            "crash point": self._crash,
        }

    async def inject(self, fault: Fault) -> float:
        """Inject a fault and return once what it ended runs again.

        Returns the moment from which its recovery counts, by the monotonic clock: a
        process's death, or the end of its stop.
        """
        return await self._ways[fault.kind](fault)

    async def settle(self) -> None:
        """Set right what would keep the run from coming to its end."""
        await self._clocks.set_right()

    async def _kill_service(self, fault: Fault) -> float:
        begun = time.monotonic()
        await self._mesh.kill_service(fault.target)
        await self._mesh.start_service(fault.target)
        return begun

    async def _kill_postgres(self, _fault: Fault) -> float:
        begun = time.monotonic()
        await self._mesh.postgres.kill()
        await self._mesh.postgres.start()
        return begun

    async def _kill_worker(self, fault: Fault) -> float:
        begun = time.monotonic()
        worker = self._mesh.staff.workers[fault.target]
        running = worker.is_running
        await worker.kill()
        if running:
            await worker.start()
        return begun

    async def _cut(self, _fault: Fault) -> float:
        cutter = self._mesh.cutter
        before = cutter.cut
        cutter.cut_next(2)
        deadline = time.monotonic() + _CUT_PATIENCE
        while cutter.cut < before + 2 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return time.monotonic()

    async def _stop_agent(self, fault: Fault) -> float:
        worker = self._mesh.staff.workers[fault.target]
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE + fault.seconds)
        worker.signal(signal.SIGCONT)
        return time.monotonic()

    async def _stop_service(self, fault: Fault) -> float:
        self._mesh.signal_service(fault.target, signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        self._mesh.signal_service(fault.target, signal.SIGCONT)
        return time.monotonic()

    async def _restart(self, fault: Fault) -> float:
        begun = time.monotonic()
        await self._mesh.stop_service(fault.target)
        await self._mesh.start_service(fault.target)
        return begun

    async def _relieve(self, fault: Fault) -> float:
        """Have a further replica up before one goes, and let it go once that one is back."""
        begun = time.monotonic()
        await self._mesh.start_service(SPARE)
        await self._mesh.stop_service(fault.target)
        await self._mesh.start_service(fault.target)
        await self._mesh.stop_service(SPARE)
        return begun

    async def _put_host_clock_wrong(self, fault: Fault) -> float:
        """Start a replica on a host whose clock is wrong; its next start puts it right."""
        clock = self._mesh.host_clock
        if clock.why_not:
            self.skipped[fault.kind] = clock.why_not
            return time.monotonic()
        begun = time.monotonic()
        await self._mesh.kill_service(fault.target)
        # An hour and a bit, ahead or behind, as the seed has it.
        seconds = 3700 if fault.seconds > 1.5 else -3700
        await self._mesh.start_service(fault.target, **clock.off_by(seconds))
        return begun

    async def _set_clock(self, fault: Fault) -> float:
        if fault.kind.endswith("ahead"):
            return await self._clocks.set_ahead()
        self.problems += await self._clocks.set_back()
        return time.monotonic()

    async def _fill_disk(self, fault: Fault) -> float:
        if self._mesh.disk.why_not:
            self.skipped[fault.kind] = self._mesh.disk.why_not
            return time.monotonic()
        self.problems += await fill_disk(self._mesh)
        return time.monotonic()

    async def _crash(self, fault: Fault) -> float:
        """Start a replica that dies at a crash point, wait until it does, and start it again."""
        others = [each for each in REPLICAS if each != fault.target]
        # One replica relays for all: it must be this one.
        away = others if fault.point.startswith("relay.") else []
        for name in (*away, fault.target):
            await self._mesh.kill_service(name)
        try:
            await self._mesh.start_service(fault.target, **{FAILPOINTS: fault.point})
            async with asyncio.timeout(_FAILPOINT_PATIENCE):
                await self._provoke(fault.target)
            self.points_hit.add(fault.point)
        except TimeoutError:
            await self._mesh.kill_service(fault.target)
        except StackError:
            # It died before it was ready.
            self.points_hit.add(fault.point)
        died = time.monotonic()
        for name in (fault.target, *away):
            await self._mesh.start_service(name)
        return died

    async def _provoke(self, name: str) -> None:
        """Have a service pass by what load alone seldom brings, until it has died."""
        death = asyncio.create_task(self._mesh.services[name].wait())
        try:
            while not (await asyncio.wait([death], timeout=_PROVOKE_AFTER))[0]:
                await self._mesh.sever_writers()
                await _ask(self._mesh, name)
                for worker in self._mesh.staff.agents():
                    if worker.is_running:
                        await worker.kill()
                        await worker.start()
        finally:
            death.cancel()


async def _ask(mesh: ChaosMesh, name: str) -> None:
    """Have a replica make a task, whether or not it lives to say so."""
    request = api.CreateTaskRequest(task=task_pb2.Task(capability=CAPABILITY))
    request.task.input["work"] = 0.0
    with suppress(aio.AioRpcError):
        async with channel_to([mesh.target(name)]) as channel:
            stub = TaskServiceStub(channel)
            await stub.CreateTask(request, timeout=1, metadata=credential(mesh.key))
