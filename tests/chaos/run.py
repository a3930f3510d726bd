"""Tasks under faults, checked: `python -m tests.chaos.run --tasks 100000 --seed 7`.

Workload and faults follow from the seed. Ends with 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpc import aio

from mesh.task.v1 import task_pb2
from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.chaos.checker import check
from tests.chaos.checks.calls import Window
from tests.chaos.connecting import channel_to, credential
from tests.chaos.faults import FILL_DISK, GRACEFUL, KINDS, Fault, every_point, schedule, seconds_of
from tests.chaos.history import Tail
from tests.chaos.injector import Injector
from tests.chaos.mesh import SPARE, ChaosMesh
from tests.chaos.points import crash_points
from tests.chaos.report import Outcome, show
from tests.chaos.staff import Places
from tests.chaos.work import CAPABILITY

_TASKS_A_FAULT: Final = 1000
_POLL: Final = 0.1
_PROBE_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 180.0
# A run whose clients get no further, for what they wait for, goes on with its next fault.
_STALL_SECONDS: Final = 15.0
# A caller may be in the middle of its retries when a fault is over.
_AFTERMATH: Final = 5.0
_DISK_BYTES: Final = 768 << 20
_DISK_BYTES_A_TASK: Final = 25_000


@dataclass(frozen=True)
class Plan:
    """A run to be made.

    Attributes:
        faults: How many; None for as many as suit the number of tasks, or the seconds.
        seconds: How long the faults are to take together, or so; None for as long as they take.
        kinds: Of which kinds; all if there are none.
        rate: Tasks a second that clients ask for; None for what leaves the faults time.
        points: Whether the faults are a crash at every point, twice.
    """

    seed: int
    tasks: int
    faults: int | None = None
    kinds: tuple[str, ...] = ()
    rate: float | None = None
    points: bool = False
    seconds: float | None = None

    def schedule(self) -> list[Fault]:
        """Return its faults."""
        if self.points:
            return every_point(self.tasks, crash_points())
        count = max(6, self.tasks // _TASKS_A_FAULT) if self.faults is None else self.faults
        faults = self._draw(count)
        while self.seconds is not None and count > 1 and seconds_of(faults) > self.seconds:
            count -= 1
            faults = self._draw(count)
        return faults

    def _draw(self, count: int) -> list[Fault]:
        return schedule(
            self.seed, tasks=self.tasks, count=count, points=crash_points(), kinds=self.kinds
        )

    def pace(self, faults: list[Fault]) -> float:
        """Return the tasks a second, such that there is work as long as there are faults."""
        return self.rate or self.tasks / max(seconds_of(faults), 5.0)

    def disk_bytes(self, faults: list[Fault]) -> int:
        """Return the size of the disk that PostgreSQL is to have for itself; 0 for none."""
        fills = any(fault.kind == FILL_DISK for fault in faults)
        return _DISK_BYTES + self.tasks * _DISK_BYTES_A_TASK if fills else 0


async def run_until_told(plan: Plan, directory: Path) -> Outcome:
    """Make a run; SIGTERM ends it and all that belongs to it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(plan, directory)


async def run(plan: Plan, directory: Path) -> Outcome:
    """Make a run and return what came of it."""
    faults = plan.schedule()
    mesh = ChaosMesh(directory, plan.seed, disk_bytes=plan.disk_bytes(faults))
    outcome = Outcome(plan.seed, plan.tasks, len(crash_points()))
    async with mesh.running():
        places = Places(mesh.targets(), mesh.target("registry"), mesh.url, mesh.key)
        rate = plan.pace(faults)
        mesh.staff.employ(places, seed=plan.seed, tasks=plan.tasks, rate=rate)
        for worker in mesh.staff.lasting():
            await worker.start()
        # Nobody can ask for what no agent has ever offered.
        await _probe(mesh)
        for worker in mesh.staff.clients():
            await worker.start()
        begun = time.monotonic()
        windows = await _inject_all(mesh, faults, outcome)
        await _clients_end(mesh, outcome)
        outcome.seconds = time.monotonic() - begun
        outcome.drain = await _drain(mesh)
        outcome.findings = await check(mesh.postgres, directory, windows)
        _notice_deaths(mesh, outcome)
    return outcome


async def _inject_all(mesh: ChaosMesh, faults: list[Fault], outcome: Outcome) -> list[Window]:
    """Inject the faults, and return when callers may have noticed them."""
    injector, tail = Injector(mesh), Tail(mesh.directory, "client")
    windows = []
    for fault in faults:
        await _reach(mesh, tail, fault.after)
        _say(f"{tail.acknowledged():>8} {fault.kind} {fault.target} {fault.point}")
        begun = time.time()
        since = await injector.inject(fault)
        await _probe(mesh)
        outcome.recoveries.setdefault(fault.kind, []).append(time.monotonic() - since)
        if fault.kind not in GRACEFUL:
            windows.append(Window(begun, time.time() + _AFTERMATH))
    await injector.settle()
    outcome.points_hit = injector.points_hit
    outcome.skipped = injector.skipped
    outcome.problems += injector.problems
    missed = {fault.point for fault in faults if fault.point} - injector.points_hit
    _say(f"crash points armed and not hit: {', '.join(sorted(missed)) or 'none'}")
    return windows


async def _reach(mesh: ChaosMesh, tail: Tail, wanted: int) -> None:
    """Wait until so many tasks have been acknowledged, or no more are for a while."""
    count, at = tail.acknowledged(), time.monotonic()
    while count < wanted and _is_busy(mesh) and time.monotonic() - at < _STALL_SECONDS:
        await asyncio.sleep(_POLL)
        now = tail.acknowledged()
        if now > count:
            count, at = now, time.monotonic()


async def _probe(mesh: ChaosMesh) -> None:
    """Have a task done from end to end, however often it must be asked for."""
    request = api.RunTaskRequest(task=task_pb2.Task(capability=CAPABILITY, priority=9))
    request.task.input["work"] = 0.0
    request.request_id = f"probe-{random.random()}"  # noqa: S311 - unique, no secret
    async with asyncio.timeout(_PROBE_SECONDS), channel_to(mesh.targets()) as channel:
        stub = TaskServiceStub(channel)
        while True:
            with suppress(aio.AioRpcError):
                task = await stub.RunTask(request, timeout=5, metadata=credential(mesh.key))
                if task.HasField("end_time"):
                    return
            await asyncio.sleep(_POLL)


def _is_busy(mesh: ChaosMesh) -> bool:
    return any(each.is_running for each in mesh.staff.clients())


async def _clients_end(mesh: ChaosMesh, outcome: Outcome) -> None:
    for client in mesh.staff.clients():
        assert client.process is not None
        if code := await client.process.wait():
            outcome.problems.append(f"{client.name} ended with {code}: see {client.log}")


async def _drain(mesh: ChaosMesh) -> float:
    """Wait until nothing is left to do; return how long that took."""
    begun = time.monotonic()

    async def wait(connection: object) -> None:
        while time.monotonic() - begun < _DRAIN_SECONDS:
            left = await connection.fetchval(  # type: ignore[attr-defined] # asyncpg has no types
                "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM outbox)"
            )
            if not left:
                return
            await asyncio.sleep(_POLL)

    await mesh.with_database(wait)
    return time.monotonic() - begun


def _notice_deaths(mesh: ChaosMesh, outcome: Outcome) -> None:
    for name, service in mesh.services.items():
        if service.pid is None and name != SPARE:
            outcome.problems.append(f"{name} has ended by itself: see its log")
    for worker in mesh.staff.lasting():
        if not worker.is_running:
            outcome.problems.append(f"{worker.name} has ended by itself: see {worker.log}")


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> int:
    """Make the run that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311
    parser.add_argument("--faults", type=int, help="how many; by default one for 1000 tasks")
    parser.add_argument("--seconds", type=float, help="no more faults than fit in so many")
    parser.add_argument(
        "--kind",
        action="append",
        choices=list(KINDS),
        default=[],
        help="kind of faults; may be given several times; by default all",
    )
    parser.add_argument("--rate", type=float, help="tasks a second")
    parser.add_argument("--every-point", action="store_true", help="crash at each point, twice")
    parser.add_argument("--keep", action="store_true", help="keep the directory of the run")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    plan = Plan(
        seed=options.seed,
        tasks=options.tasks,
        faults=options.faults,
        kinds=tuple(options.kind),
        rate=options.rate,
        points=options.every_point,
        seconds=options.seconds,
    )
    directory = Path(tempfile.mkdtemp(prefix="agentmesh-chaos-"))
    outcome = asyncio.run(run_until_told(plan, directory))
    _say(show(outcome))
    if options.keep or not outcome.ok:
        _say(f"histories and logs: {directory}")
    else:
        shutil.rmtree(directory)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
