"""How many tasks two processes of the task service do on one database, beside one process.

Run by `python -m bench.replicas`. Both are measured in turn, round after round, under the same
load of no-op tasks, past the gateway: half of the clients and half of the agents are connected
to each process, or all to the one. What one half of the agents can do the other can't, and each
client creates tasks for both halves, so every other task crosses from one process to the other.

How to read it: the ratio is what the second process adds. It can add only where cores are idle
under one: clients, agents, two services and PostgreSQL share those that there are, which are
named above the table, with how busy they were.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from bench.further_replica import further_replica
from bench.ledger import Ledger, task_database
from bench.load import Server, Site, warm_load
from bench.mesh_store import MeshStore
from bench.scratch import scratch
from bench.table import markdown

ONE = "1"
TWO = "2"
HALVES = ("bench.first", "bench.second")

Measured = Mapping[str, list[tuple[float, float]]]
"""By the number of processes: tasks a second, and per cent of all CPUs that were busy."""


@asynccontextmanager
async def servers(
    processes: str, mesh: MeshStore, path: Path, server: Server
) -> AsyncIterator[list[Server]]:
    """Give what finds the process of each half."""
    if processes == ONE:
        yield [server, server]
    else:
        async with further_replica(mesh, path) as address:
            yield [server, server | {"task": address}]


async def measure(halves: Sequence[Server], ledger: Ledger, tasks: int) -> tuple[float, float]:
    """Measure once."""
    sites = [Site(*each) for each in zip(halves, HALVES, strict=True)]
    with tempfile.TemporaryDirectory(prefix="bench-tally-") as tally:
        async with warm_load(sites, ledger, tally) as load:
            psutil.cpu_percent()
            return (await load.run(tasks)).rate, psutil.cpu_percent()


async def run(tasks: int, rounds: int) -> Measured:
    """Measure all rounds."""
    measured: dict[str, list[tuple[float, float]]] = {ONE: [], TWO: []}
    with scratch() as data:
        path = data / "mesh"
        mesh = MeshStore(path)
        async with mesh.running(), mesh.emptied() as server, task_database(mesh) as connection:
            for _ in range(rounds):
                for processes, figures in measured.items():
                    async with servers(processes, mesh, path, server) as halves:
                        figures.append(await measure(halves, Ledger(connection), tasks))
                    rate, busy = figures[-1]
                    print(
                        f"{processes} service processes: {rate:,.0f} tasks/s, CPUs {busy:.0f} %",
                        file=sys.stderr,
                        flush=True,
                    )
    return measured


def report(measured: Measured) -> str:
    """Return the table."""
    rows = [["service processes", "tasks/s", "least..most", "/ one", "CPUs busy"]]
    base = statistics.median(rate for rate, _ in measured[ONE])
    for processes, figures in measured.items():
        rates = [rate for rate, _ in figures]
        median, busy = statistics.median(rates), statistics.median(busy for _, busy in figures)
        spread = f"{min(rates):,.0f}..{max(rates):,.0f}"
        rows.append([processes, f"{median:,.0f}", spread, f"{median / base:.2f}", f"{busy:.0f} %"])
    return markdown(rows)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="bench.replicas", description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000, help="in one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    measured = asyncio.run(run(chosen.tasks, chosen.rounds))
    print(
        f"{chosen.tasks:,} no-op tasks each, medians of {chosen.rounds} rounds, clients and agents "
        f"on the same {os.cpu_count()} CPUs\n\n{report(measured)}"
    )


if __name__ == "__main__":
    main()
