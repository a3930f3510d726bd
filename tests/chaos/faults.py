"""Faults, and the schedule of them, which follows from the seed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentmesh.stack.errors import StackError
from tests.chaos.mesh import LEASE, REPLICAS, ChaosMesh

_FAILPOINT_PATIENCE: Final = 8.0
_PROVOKE_AFTER: Final = 1.0
_HOUR: Final = 3600.0

KINDS: Final = {
    "kill task": 6,
    "kill agent": 5,
    "kill client": 4,
    "kill postgres": 3,
    "kill auth": 1,
    "kill registry": 1,
    "kill analytics": 1,
    "cut after commit": 4,
    "stop agent past its lease": 3,
    "stop task": 2,
    "move clock": 1,
    "crash point": 8,
}
"""The kinds of faults, and how often each comes beside the others."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        after: Tasks that have been acknowledged before it.
        target: Name of the process; for a crash point that of the replica.
        point: The crash point and the hit at which, as the environment names it.
    """

    after: int
    kind: str
    target: str
    point: str = ""
    seconds: float = 0.0


def every_point(tasks: int, points: Sequence[str]) -> list[Fault]:
    """Return a crash at the first and the second hit of every point, spread over the tasks."""
    crashes = [f"{point}=exit@{hit}" for point in points for hit in (1, 2)]
    step = tasks * 9 // 10 // max(len(crashes), 1)
    return [
        Fault(step * number, "crash point", REPLICAS[number % 2], crash)
        for number, crash in enumerate(crashes)
    ]


def schedule(
    seed: int, *, tasks: int, count: int, agents: int, clients: int, points: Sequence[str]
) -> list[Fault]:
    """Return the faults of a run, in order, spread over its tasks."""
    chance = random.Random(f"{seed}:faults")  # noqa: S311 - a schedule, no secret
    at = sorted(
        chance.randrange(tasks // 20, max(tasks * 9 // 10, tasks // 20 + 1)) for _ in range(count)
    )
    kinds = chance.choices(list(KINDS), weights=list(KINDS.values()), k=count)
    targets = {"task": 2, "agent": agents, "client": clients}
    # Each point is hit for the first and for the second time before any is hit again.
    crashes = [f"{point}=exit@{hit}" for point in points for hit in (1, 2)]
    chance.shuffle(crashes)
    faults = []
    for number, (after, kind) in enumerate(zip(at, kinds, strict=True)):
        point = ""
        if kind == "crash point":
            point = crashes[number % len(crashes)] if not crashes else crashes.pop(0)
            crashes.append(point)
        noun = next((name for name in targets if name in kind.split()), "")
        target = f"{noun}-{chance.randrange(targets[noun])}" if noun else kind.split()[-1]
        if kind == "cut after commit":
            target = REPLICAS[1]
        elif kind == "crash point":
            target = chance.choice(REPLICAS)
        faults.append(Fault(after, kind, target, point, chance.uniform(0.5, 2.5)))
    return faults


class Injector:
    """Injects faults into a mesh, and undoes them."""

    def __init__(self, mesh: ChaosMesh) -> None:
        self._mesh = mesh
        self.points_hit: set[str] = set()

    async def inject(self, fault: Fault) -> float:
        """Inject a fault and return once what it ended runs again.

        Returns the moment from which its recovery counts, by the monotonic clock: a
        process's death, or the end of its stop.
        """
        match fault.kind.split():
            case ["stop", "agent", *_]:
                return await self._stop_agent(fault.target, LEASE + fault.seconds)
            case ["stop", *_]:
                return await self._stop_service(fault.target, fault.seconds)
            case ["crash", *_]:
                return await self._crash(fault)
            case ["cut", *_]:
                return await self._cut()
        begun = time.monotonic()
        match fault.kind.split():
            case ["kill", "postgres"]:
                await self._kill_postgres()
            case ["move", *_]:
                await self._mesh.move_clock(_HOUR)
            case ["kill", "agent" | "client"]:
                await self._kill_worker(fault.target)
            case _:
                await self._mesh.kill_service(fault.target)
                await self._mesh.start_service(fault.target)
        return begun

    async def _provoke(self, name: str) -> None:
        """Have a service pass by what load alone seldom brings, until it has died."""
        death = asyncio.create_task(self._mesh.services[name].wait())
        try:
            while not (await asyncio.wait([death], timeout=_PROVOKE_AFTER))[0]:
                await self._mesh.sever_writers()
                for worker in self._mesh.agents():
                    await self._kill_worker(worker.name)
        finally:
            death.cancel()

    async def _kill_postgres(self) -> None:
        await self._mesh.postgres.kill()
        await self._mesh.postgres.start()

    async def _kill_worker(self, name: str) -> None:
        worker = self._mesh.workers[name]
        running = worker.process is not None and worker.process.returncode is None
        await worker.kill()
        if running:
            await worker.start()

    async def _cut(self) -> float:
        before = self._mesh.cutter.cut
        self._mesh.cutter.cut_next(2)
        deadline = time.monotonic() + _FAILPOINT_PATIENCE
        while self._mesh.cutter.cut < before + 2 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return time.monotonic()

    async def _stop_agent(self, name: str, seconds: float) -> float:
        worker = self._mesh.workers[name]
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        worker.signal(signal.SIGCONT)
        return time.monotonic()

    async def _stop_service(self, name: str, seconds: float) -> float:
        self._mesh.signal_service(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._mesh.signal_service(name, signal.SIGCONT)
        return time.monotonic()

    async def _crash(self, fault: Fault) -> float:
        """Start a replica that dies at a crash point, wait until it does, and start it again."""
        others = [each for each in REPLICAS if each != fault.target]
        # One replica relays for all: it must be this one.
        away = others if fault.point.startswith("relay.") else []
        for name in (*away, fault.target):
            await self._mesh.kill_service(name)
        try:
            await self._mesh.start_service(fault.target, failpoints=fault.point)
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
