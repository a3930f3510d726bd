"""How long a task takes on a quiet mesh, and its dispatch on a busy one.

Run by `python -m bench.latency`. A bare gRPC call and a bare commit are measured in the same
run, between the tasks. Load comes by the clock: a slow answer doesn't hold the next task back.

How to read it: the first line is from when a task was due to be created until its caller, who
watches it, has seen it succeed. The last is at 70 % of the rate that the same run has found to be
the highest, from when the caller knew that the task is accepted until an agent had it; below zero
the agent was the first to know.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from pathlib import Path

from agentmesh import Client
from bench.agents import Fleet
from bench.baseline import bare_call, bare_commit
from bench.mesh_store import MeshStore
from bench.open_loop import HEADER, quantile, row, timed
from bench.peers.protocol import spread
from bench.scratch import scratch
from bench.table import markdown

AGENTS = 10
PROCESSES = 2
IN_FLIGHT = 128
WARM_UP = 600
BUSY_SHARE = 0.7
DISPATCHED_SECONDS = 60.0
POLL_SECONDS = 0.02


class Dispatches:
    """When the caller had each task's acknowledgement, and when an agent had the task."""

    def __init__(self, client: Client, capability: str, stamps: Path) -> None:
        self.capability = capability
        self._client = client
        self._stamps = stamps
        self._acknowledged: dict[str, float] = {}

    async def create(self) -> None:
        """Create a task and note when the call returned."""
        task = await self._client.create_task(self.capability)
        self._acknowledged[task.id] = time.monotonic()

    async def run(self) -> None:
        """Create a task and watch it to its end."""
        task = await self._client.create_task(self.capability)
        async for event in self._client.watch_task(task.id):
            if event.task.is_done:
                return

    async def latencies(self) -> list[float]:
        """Wait until agents have had all, and return the seconds from acknowledgement to agent.

        Below zero where the agent was the first to know.
        """
        async with asyncio.timeout(DISPATCHED_SECONDS):
            while len(had := self._had()) < len(self._acknowledged):  # noqa: ASYNC110 - it is told by nobody
                await asyncio.sleep(POLL_SECONDS)
        latencies = [had[task] - since for task, since in self._acknowledged.items()]
        self._acknowledged.clear()
        return latencies

    def _had(self) -> dict[str, float]:
        lines = [line for file in self._stamps.iterdir() for line in file.read_text().splitlines()]
        stamps = (line.split() for line in lines)
        return {task: float(when) for task, when in stamps if task in self._acknowledged}


async def highest_rate(dispatches: Dispatches, tasks: int) -> float:
    """Return how many tasks a second agents get with as many creations at a time as may be."""
    begun = time.monotonic()
    await spread(tasks, IN_FLIGHT, dispatches.create)
    await dispatches.latencies()
    return tasks / (time.monotonic() - begun)


async def measure(mesh: MeshStore, chosen: argparse.Namespace, stamps: Path) -> None:
    """Measure and print."""
    async with mesh.emptied() as server:
        capability = f"bench.{uuid.uuid4().hex}"
        url = f"http://{server['task']}" if chosen.direct else server["gateway"]
        fleet = Fleet(server, capability, chosen.direct, stamps=str(stamps))
        async with (
            fleet.running(AGENTS, PROCESSES),
            Client(url, server["admin_key"]) as client,
            bare_call() as call,
            bare_commit(mesh.postgres()) as commit,
        ):
            dispatches = Dispatches(client, capability, stamps)
            await highest_rate(dispatches, WARM_UP)
            most = await highest_rate(dispatches, chosen.probe)
            quiet = await timed(chosen.rate, chosen.seconds, dispatches.run, call, commit)
            busy_rate = BUSY_SHARE * most
            await timed(busy_rate, chosen.busy_seconds, dispatches.create)
            busy = await dispatches.latencies()
    report(quiet, busy, busy_rate, chosen.rate)


def report(
    quiet: list[list[float]], busy: list[float], busy_rate: float, quiet_rate: float
) -> None:
    """Print the quantiles and their ratios to what the machine takes for the least."""
    tasks, calls, commits = quiet
    rows = [
        row(f"create to watched end, {quiet_rate:.0f}/s", tasks),
        row("bare gRPC call, between them", calls),
        row("bare PostgreSQL commit, between them", commits),
        row(f"acknowledgement to agent, {busy_rate:,.0f}/s", busy),
    ]
    print(markdown([HEADER, *rows]))
    for name, baseline in (("call", calls), ("commit", commits)):
        p50, p99 = (quantile(tasks, share) / quantile(baseline, share) for share in (0.5, 0.99))
        print(f"create to watched end / bare {name}: p50 {p50:.1f}, p99 {p99:.1f}")


async def run(chosen: argparse.Namespace) -> None:
    """Run a mesh for the measurement."""
    with scratch() as data:
        stamps = data / "stamps"
        stamps.mkdir()
        mesh = MeshStore(data / "mesh")
        async with mesh.running():
            await measure(mesh, chosen, stamps)


def main() -> None:
    """Measure, and print the quantiles."""
    parser = argparse.ArgumentParser(prog="bench.latency", description=__doc__)
    parser.add_argument("--rate", type=float, default=10.0, help="tasks a second, quiet")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the quiet load")
    parser.add_argument("--busy-seconds", type=float, default=10.0, help="of the busy load")
    parser.add_argument("--probe", type=int, default=2000, help="tasks that find the highest rate")
    parser.add_argument("--direct", action="store_true", help="past the gateway")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
