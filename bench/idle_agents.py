"""What idle agents cost the task service, and how soon they are back after its crash.

Run by `python -m bench.idle_agents --agents 2000`. Each agent has a dispatch stream on a
connection of its own, straight to the service, and sends its heartbeats.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import psutil

from agentmesh.connection import Connection
from bench.idle_streams import Plan, Standing, capability
from bench.mesh_store import MeshStore
from bench.peers.protocol import spread
from bench.scratch import scratch
from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

PROCESSES = 2
MOST_SECONDS = 300.0
SETTLE_SECONDS = 5.0
POLL_SECONDS = 0.02
IN_FLIGHT = 64
MIB = 1 << 20


class Streams:
    """The processes that hold the streams, and where they stand."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self._standings = [Standing(0, 0.0, 0.0, 0)] * PROCESSES

    @asynccontextmanager
    async def held(self, server: dict[str, str]) -> AsyncIterator[None]:
        """Run the processes."""
        share = -(-self.agents // PROCESSES)
        firsts = range(0, self.agents, share)
        plans = [
            Plan(
                task=server["task"],
                registry=server["registry"],
                key=server["agent_key"],
                first=first,
                count=min(share, self.agents - first),
            )
            for first in firsts
        ]
        processes = [await _start(plan) for plan in plans]
        reading = [
            asyncio.create_task(self._read(place, process))
            for place, process in enumerate(processes)
        ]
        try:
            yield
        finally:
            for task in reading:
                task.cancel()
            for process in processes:
                process.kill()
                await process.wait()

    @property
    def standing(self) -> Standing:
        """Return where all stand together."""
        return Standing(
            held=sum(each.held for each in self._standings),
            oldest=min(each.oldest for each in self._standings),
            latest=max(each.latest for each in self._standings),
            done=sum(each.done for each in self._standings),
        )

    async def all_held(self, since: float) -> float:
        """Wait until every agent has been welcomed since then; return the seconds it took."""
        async with asyncio.timeout(MOST_SECONDS):
            while (now := self.standing).held < self.agents or now.oldest < since:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(POLL_SECONDS)
        return now.latest - since

    async def all_done(self, since: float, tasks: int) -> float:
        """Wait until so many tasks are done in all; return the seconds it took."""
        async with asyncio.timeout(MOST_SECONDS):
            while self.standing.done < tasks:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - since

    async def _read(self, place: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self._standings[place] = Standing(**json.loads(line))


async def _start(plan: Plan) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.idle_streams"),
        env=os.environ | {"BENCH_STREAMS": json.dumps(asdict(plan))},
        stdout=asyncio.subprocess.PIPE,
    )


async def one_task_each(server: dict[str, str], agents: int) -> None:
    """Create a task for each agent, which no other can do."""
    connection = Connection(f"http://{server['task']}", server["admin_key"])
    numbers = iter(range(agents))
    async with connection.channel() as channel:
        stub: Any = task_service_pb2_grpc.TaskServiceStub(channel)

        async def create() -> None:
            task = task_pb2.Task(capability=capability(next(numbers)))
            request = task_service_pb2.CreateTaskRequest(task=task)
            await stub.CreateTask(request, metadata=connection.metadata)

        await spread(agents, IN_FLIGHT, create)


async def measure(mesh: MeshStore, agents: int, seconds: float) -> None:
    """Measure and print."""
    server_process = psutil.Process(mesh.pid("task"))
    before = server_process.memory_info().rss
    streams = Streams(agents)
    begun = time.monotonic()
    async with mesh.emptied() as server, streams.held(server):
        connected = await streams.all_held(begun)
        print(f"{agents:,} agents registered and connected in {connected:.1f} s", flush=True)
        await asyncio.sleep(SETTLE_SECONDS)
        server_process.cpu_percent()
        await asyncio.sleep(seconds)
        cpu = server_process.cpu_percent()
        after = server_process.memory_info().rss
        print(
            f"task service: {before / MIB:.0f} MiB without agents, {after / MIB:.0f} MiB with, "
            f"{(after - before) / agents / 1024:.1f} KiB an agent; "
            f"{cpu:.1f} % of a CPU over {seconds:.0f} s",
            flush=True,
        )
        await _report_tasks(server, streams, "a task to each", agents)
        await _crash(mesh, streams)
        await _report_tasks(server, streams, "a task to each after the crash", 2 * agents)


async def _crash(mesh: MeshStore, streams: Streams) -> None:
    """Kill the service; its supervisor starts it again."""
    pid = mesh.pid("task")
    assert pid
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    back = await streams.all_held(killed)
    print(f"kill -9: all {streams.agents:,} are back in {back:.1f} s", flush=True)


async def _report_tasks(server: dict[str, str], streams: Streams, name: str, total: int) -> None:
    begun = time.monotonic()
    await one_task_each(server, streams.agents)
    print(f"{name}: done in {await streams.all_done(begun, total):.1f} s", flush=True)


async def run(agents: int, seconds: float) -> None:
    """Run a mesh for the measurement."""
    with scratch() as data:
        mesh = MeshStore(data / "mesh")
        async with mesh.running():
            await measure(mesh, agents, seconds)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="bench.idle_agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0, help="over which the CPU is taken")
    chosen = parser.parse_args()
    # A connection is a file at either end; children inherit the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(run(chosen.agents, chosen.seconds))


if __name__ == "__main__":
    main()
