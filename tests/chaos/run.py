"""Tasks under faults, checked: `python -m tests.chaos.run --tasks 100000 --seed 7`.

Workload and faults follow from the seed. Ends with 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpc import aio

from agentmesh.stack.composition import database_name
from mesh.task.v1 import task_pb2
from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.chaos.checker import check
from tests.chaos.connecting import channel_to, credential
from tests.chaos.faults import Fault, Injector, every_point, schedule
from tests.chaos.history import Tail
from tests.chaos.mesh import ChaosMesh
from tests.chaos.points import crash_points
from tests.chaos.report import Outcome, show
from tests.chaos.workload import CAPABILITY

AGENTS: Final = 3
CLIENTS: Final = 3
_SECONDS_A_FAULT: Final = 5.0
_SECONDS_A_POINT: Final = 11.0
_TASKS_A_FAULT: Final = 1000
_POLL: Final = 0.1
_PROBE_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 180.0


@dataclass(frozen=True)
class Plan:
    """A run to be made.

    Attributes:
        faults: How many; None for as many as suit the number of tasks.
        rate: Tasks a second that clients ask for; None for what leaves the faults time.
        points: Whether the faults are a crash at every point, twice.
    """

    seed: int
    tasks: int
    faults: int | None = None
    rate: float | None = None
    points: bool = False

    def schedule(self) -> list[Fault]:
        """Return its faults."""
        if self.points:
            return every_point(self.tasks, crash_points())
        count = max(6, self.tasks // _TASKS_A_FAULT) if self.faults is None else self.faults
        return schedule(
            self.seed,
            tasks=self.tasks,
            count=count,
            agents=AGENTS,
            clients=CLIENTS,
            points=crash_points(),
        )

    def pace(self, faults: int) -> float:
        """Return the tasks a second."""
        seconds = _SECONDS_A_POINT if self.points else _SECONDS_A_FAULT
        return self.rate or self.tasks / max(faults * seconds, 5.0)


async def run(plan: Plan, directory: Path) -> Outcome:
    """Make a run and return what came of it."""
    mesh = ChaosMesh(directory, plan.seed)
    faults = plan.schedule()
    outcome = Outcome(plan.seed, plan.tasks, len(crash_points()))
    async with mesh.running():
        mesh.employ(agents=AGENTS, clients=CLIENTS, tasks=plan.tasks, rate=plan.pace(len(faults)))
        for worker in mesh.agents():
            await worker.start()
        # Nobody can ask for what no agent has ever offered.
        await _probe(mesh)
        for worker in mesh.clients():
            await worker.start()
        begun = time.monotonic()
        await _inject_all(mesh, faults, outcome)
        await _clients_end(mesh, outcome)
        outcome.seconds = time.monotonic() - begun
        outcome.drain = await _drain(mesh)
        outcome.findings = await check(mesh.postgres, directory)
        _notice_deaths(mesh, outcome)
    return outcome


async def _inject_all(mesh: ChaosMesh, faults: list[Fault], outcome: Outcome) -> None:
    injector, tail = Injector(mesh), Tail(mesh.directory, "client")
    for fault in faults:
        while tail.acknowledged() < fault.after and _is_busy(mesh):
            await asyncio.sleep(_POLL)
        _say(f"{tail.acknowledged():>8} {fault.kind} {fault.target} {fault.point}")
        since = await injector.inject(fault)
        await _probe(mesh)
        outcome.recoveries.setdefault(fault.kind, []).append(time.monotonic() - since)
    outcome.points_hit = injector.points_hit
    missed = {fault.point for fault in faults if fault.point} - injector.points_hit
    _say(f"crash points armed and not hit: {', '.join(sorted(missed)) or 'none'}")


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
    return any(each.process and each.process.returncode is None for each in mesh.clients())


async def _clients_end(mesh: ChaosMesh, outcome: Outcome) -> None:
    for client in mesh.clients():
        assert client.process is not None
        if code := await client.process.wait():
            outcome.problems.append(f"{client.name} ended with {code}: see {client.log}")


async def _drain(mesh: ChaosMesh) -> float:
    """Wait until nothing is left to do; return how long that took."""
    begun = time.monotonic()
    connection = await mesh.postgres.connect(database_name("task"))
    try:
        while time.monotonic() - begun < _DRAIN_SECONDS:
            left = await connection.fetchval(
                "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM outbox)"
            )
            if not left:
                break
            await asyncio.sleep(_POLL)
    finally:
        await connection.close()
    return time.monotonic() - begun


def _notice_deaths(mesh: ChaosMesh, outcome: Outcome) -> None:
    for name, service in mesh.services.items():
        if service.pid is None:
            outcome.problems.append(f"{name} has ended by itself: see its log")


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> int:
    """Make the run that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311
    parser.add_argument("--faults", type=int, help="how many; by default one for 1000 tasks")
    parser.add_argument("--rate", type=float, help="tasks a second")
    parser.add_argument("--every-point", action="store_true", help="crash at each point, twice")
    parser.add_argument("--keep", action="store_true", help="keep the directory of the run")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    plan = Plan(options.seed, options.tasks, options.faults, options.rate, options.every_point)
    directory = Path(tempfile.mkdtemp(prefix="agentmesh-chaos-"))
    outcome = asyncio.run(run(plan, directory))
    _say(show(outcome))
    if options.keep or not outcome.ok:
        _say(f"histories and logs: {directory}")
    else:
        shutil.rmtree(directory)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
