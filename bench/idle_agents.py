"""What idle agents cost the task service: memory for each, and CPU for all.

Run by `python -m bench.idle_agents --agents 2000`. Each agent has a dispatch stream on a
connection of its own, straight to the service, and sends its heartbeats.

How to read it: memory is what the service's process has grown by since it had no agents. CPU is
that of its process while nothing else happens, in per cent of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import psutil

from bench.idle_fleet import IdleFleet, allow_connections
from bench.mesh_store import MeshStore
from bench.scratch import scratch
from bench.table import markdown

SETTLE_SECONDS = 5.0
MIB = 1 << 20


async def measure(mesh: MeshStore, agents: int, seconds: float) -> str:
    """Return the table."""
    service = psutil.Process(mesh.pid("task"))
    before = service.memory_info().rss
    fleet = IdleFleet(agents)
    async with mesh.emptied() as server, fleet.held(server) as connected:
        await asyncio.sleep(SETTLE_SECONDS)
        service.cpu_percent()
        await asyncio.sleep(seconds)
        cpu = service.cpu_percent()
        after = service.memory_info().rss
        worked = await fleet.work(server, time.monotonic())
    return markdown(
        [
            [f"{agents:,} idle agents", ""],
            ["memory of the service for an agent", f"{(after - before) / agents / 1024:.1f} KiB"],
            ["memory without, with agents", f"{before / MIB:.0f}, {after / MIB:.0f} MiB"],
            [f"CPU of the service over {seconds:.0f} s", f"{cpu:.1f} %"],
            ["all register and connect", f"{connected:.1f} s"],
            ["a task to each, created and done", f"{worked:.1f} s"],
        ]
    )


async def run(agents: int, seconds: float) -> str:
    """Run a mesh for the measurement."""
    with scratch() as data:
        mesh = MeshStore(data / "mesh")
        async with mesh.running():
            return await measure(mesh, agents, seconds)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="bench.idle_agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0, help="over which the CPU is taken")
    chosen = parser.parse_args()
    allow_connections()
    print(asyncio.run(run(chosen.agents, chosen.seconds)))


if __name__ == "__main__":
    main()
