"""How soon all agents work again after the crash of the task service.

Run by `python -m bench.restart --agents 2000`. Each agent has a dispatch stream on a connection
of its own, in processes of their own. The service is killed by kill -9; its supervisor starts it
again. As soon as it answers, a task is created for each agent, which no other can do.

How to read it: all times are seconds from the kill. The service answers; every agent has its
stream again; every agent has done a task and has the receipt of its completion.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time

from agentmesh.stack.backoff import FORGET_AFTER_SECONDS
from agentmesh.stack.ports import LOOPBACK
from agentmesh.stack.readiness import grpc_is_ready
from bench.idle_fleet import IdleFleet, allow_connections
from bench.load import Server
from bench.mesh_store import MeshStore
from bench.scratch import scratch
from bench.table import markdown

SETTLE_SECONDS = 5.0
POLL_SECONDS = 0.05
MOST_SECONDS = 60.0


async def crash(mesh: MeshStore, fleet: IdleFleet, server: Server) -> list[float]:
    """Kill the service; return the seconds until it answers, all are back, all have worked."""
    pid = mesh.pid("task")
    assert pid
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    answers = await _answers(server, killed)
    return [
        answers,
        *await asyncio.gather(fleet.all_held(killed), fleet.work(server, killed)),
    ]


async def _answers(server: Server, since: float) -> float:
    port = int(server["task"].rpartition(":")[2])
    async with asyncio.timeout(MOST_SECONDS):
        while not await grpc_is_ready(LOOPBACK, port):  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - since


async def run(agents: int, rounds: int) -> list[list[float]]:
    """Crash the service of a mesh, again and again."""
    measured = []
    with scratch() as data:
        mesh = MeshStore(data / "mesh")
        fleet = IdleFleet(agents)
        async with mesh.running(), mesh.emptied() as server, fleet.held(server):
            await fleet.work(server, time.monotonic())
            for number in range(rounds):
                # The supervisor waits longer before each start while crashes come close together.
                await asyncio.sleep(FORGET_AFTER_SECONDS if number else SETTLE_SECONDS)
                measured.append(await crash(mesh, fleet, server))
                print(f"all work after {measured[-1][-1]:.1f} s", file=sys.stderr, flush=True)
    return measured


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="bench.restart", description=__doc__)
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2, help="how often the service is killed")
    chosen = parser.parse_args()
    allow_connections()
    measured = asyncio.run(run(chosen.agents, chosen.rounds))
    rows = [["kill", "service answers", f"all {chosen.agents:,} agents back", "each did a task"]]
    rows += [
        [str(number), *(f"{seconds:.1f} s" for seconds in times)]
        for number, times in enumerate(measured, 1)
    ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
