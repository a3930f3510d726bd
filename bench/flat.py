"""Whether a mesh is as fast with a million queued and a million finished tasks as with none.

Run by `python -m bench.flat`. Two meshes are measured in turn, one whose tables are empty and one
whose tables are full, each with all its services, its checks of keys and its outbox, durable.

How to read it: tasks/s are no-op tasks, created and done, past the gateway; CPU is what the task
service and its database spend on each of them, which stays as it is on a machine that is busy with
other things; a claim is one call of an agent without a stream, for one task. The ratios are to
other lines of the same run: near 1.00 is flat. A task of an empty queue goes to its agent as it is
created, while one behind others is stored, claimed and started: the last column compares the two
queues that hold tasks, of which one is short.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from agentmesh import Client
from bench import crowd
from bench.claims import claimant
from bench.cpu import Processes
from bench.ledger import Ledger, task_database
from bench.load import Server, Site, warm_load
from bench.mesh_store import MeshStore
from bench.open_loop import MILLISECONDS, quantile
from bench.scratch import scratch
from bench.table import markdown

NEW = "bench.new"
"""Capability whose queue is empty before each measurement."""

WAITING = "bench.waiting"
"""Capability whose queue is not."""

RATIOS = ("tasks/s, CPU, claim / empty", "/ few queued")
CLAIMS = 200
FEW_TIMES = 5


@dataclass
class Place:
    """A mesh that is to be measured: its servers, and a connection to its task database."""

    server: Server
    connection: Any
    processes: Processes

    async def learn(self) -> None:
        """Have a task done of each capability: only what an agent offers is accepted."""
        for capability in (NEW, WAITING):
            async with claimant(self.server, capability) as agent:
                await agent.latencies(1)

    async def queue(self, tasks: int) -> None:
        """Put so many tasks into the queue."""
        async with Client(self.server["gateway"], self.server["admin_key"]) as client:
            first = await client.create_task(WAITING)
        await crowd.multiply(self.connection, UUID(first.id), tasks)

    async def finish(self, tasks: int) -> None:
        """Put so many tasks among the finished ones."""
        first = await self.connection.fetchval("SELECT id FROM finished_tasks LIMIT 1")
        await crowd.multiply(self.connection, first, tasks)


@dataclass
class Case:
    """A line of the table.

    Attributes:
        few: How many tasks to queue before each measurement.
        rates: Tasks a second, of each round.
        cpu: Milliseconds of a task, of each round.
        claims: Median milliseconds of a claim, of each round.
    """

    name: str
    place: Place
    capability: str
    few: int = 0
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)

    async def measure(self, tasks: int) -> None:
        """Measure once more."""
        if self.few:
            await self.place.queue(self.few)
            await crowd.settle(self.place.connection)
        async with claimant(self.place.server, self.capability) as agent:
            self.claims.append(quantile(await agent.latencies(CLAIMS), 0.5))
        await self._measure_load(tasks)
        say(f"{self.name}: {self.rates[-1]:,.0f} tasks/s, a claim {self.claims[-1]:.2f} ms")

    async def _measure_load(self, tasks: int) -> None:
        ledger, processes = Ledger(self.place.connection), self.place.processes
        site = Site(self.place.server, self.capability)
        with tempfile.TemporaryDirectory(prefix="bench-tally-") as tally:
            async with warm_load([site], ledger, tally) as load:
                before = processes.seconds()
                work = await load.run(tasks)
                self.cpu.append((processes.seconds() - before) / work.tasks * MILLISECONDS)
                self.rates.append(work.rate)
                if self.few:
                    await ledger.all_ended()


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Place]:
    """Run a mesh whose agents have been seen."""
    mesh = MeshStore(directory)
    async with mesh.running(), mesh.emptied() as server, task_database(mesh) as connection:
        place = Place(server, connection, Processes(mesh))
        await place.learn()
        yield place


async def fill(place: Place, queued: int, finished: int) -> None:
    """Fill the tables."""
    begun = time.monotonic()
    await place.finish(finished)
    await place.queue(queued)
    await crowd.settle(place.connection)
    say(f"{queued:,} queued and {finished:,} finished in {time.monotonic() - begun:.0f} s")


async def run(chosen: argparse.Namespace) -> list[Case]:
    """Measure all cases in turn, round after round."""
    with scratch() as data:
        async with AsyncExitStack() as stack:
            empty, full = [
                await stack.enter_async_context(running(data / name)) for name in ("empty", "full")
            ]
            await fill(full, chosen.queued, chosen.finished)
            few = FEW_TIMES * chosen.tasks
            behind = f"{chosen.finished:,} finished"
            cases = [
                Case("nothing queued or finished", empty, NEW),
                Case(f"{chosen.queued:,} queued of another capability, {behind}", full, NEW),
                Case(f"{few:,} queued before them", empty, WAITING, few),
                Case(f"{chosen.queued:,} queued before them, {behind}", full, WAITING),
            ]
            for _ in range(chosen.rounds):
                for case in cases:
                    await case.measure(chosen.tasks)
    return cases


def report(cases: Sequence[Case]) -> str:
    """Return the table."""
    empty, _, few, million = cases
    rows = [["", "tasks/s", "least..most", "CPU", "claim p50", *RATIOS]]
    rows += [
        [
            case.name,
            f"{statistics.median(case.rates):,.0f}",
            f"{min(case.rates):,.0f}..{max(case.rates):,.0f}",
            f"{statistics.median(case.cpu):.2f} ms",
            f"{statistics.median(case.claims):.2f} ms",
            _ratios(case, empty),
            _ratios(case, few) if case is million else "",
        ]
        for case in cases
    ]
    return markdown(rows)


def _ratios(case: Case, base: Case) -> str:
    rate, cpu, claim = (
        statistics.median(own) / statistics.median(others)
        for own, others in (
            (case.rates, base.rates),
            (case.cpu, base.cpu),
            (case.claims, base.claims),
        )
    )
    return f"{rate:.2f}, {cpu:.2f}, {claim:.2f}"


def say(what: str) -> None:
    """Tell how far it is."""
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="bench.flat", description=__doc__)
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=5000, help="in one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    cases = asyncio.run(run(chosen))
    print(
        f"{chosen.tasks:,} tasks and {CLAIMS} claims each, medians of "
        f"{chosen.rounds} rounds, on {os.cpu_count()} CPUs\n\n{report(cases)}"
    )


if __name__ == "__main__":
    main()
