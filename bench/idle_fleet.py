"""Idle agents in processes of `bench.idle_streams`, and the tasks that show them at work."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from agentmesh import Client
from bench.idle_streams import Plan, Standing, capability
from bench.load import Server
from bench.peers.protocol import spread

PROCESSES = 2
MOST_SECONDS = 300.0
POLL_SECONDS = 0.02
IN_FLIGHT = 64


class IdleFleet:
    """The processes that hold the streams, and where they stand."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self._standings = [Standing(0, 0.0, 0.0, 0)] * PROCESSES

    @asynccontextmanager
    async def held(self, server: Server) -> AsyncIterator[float]:
        """Run the processes; within, all agents are connected. Gives the seconds that took."""
        begun = time.monotonic()
        processes = [await _start(plan) for plan in self._plans(server)]
        reading = [
            asyncio.create_task(self._read(place, process))
            for place, process in enumerate(processes)
        ]
        try:
            yield await self.all_held(begun)
        finally:
            for task in reading:
                task.cancel()
            for process in processes:
                process.kill()
                await process.wait()

    async def all_held(self, since: float) -> float:
        """Wait until every agent has been welcomed since then; return the seconds it took."""
        async with asyncio.timeout(MOST_SECONDS):
            while (now := self._standing).held < self.agents or now.oldest < since:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(POLL_SECONDS)
        return now.latest - since

    async def work(self, server: Server, since: float) -> float:
        """Have each agent do a task; return the seconds from then until the last is done.

        Tasks are created for agents that are not connected, too; they wait for them.
        """
        before = self._standing.done
        await self._create(server)
        async with asyncio.timeout(MOST_SECONDS):
            while self._standing.done < before + self.agents:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - since

    @property
    def _standing(self) -> Standing:
        return Standing(
            held=sum(each.held for each in self._standings),
            oldest=min(each.oldest for each in self._standings),
            latest=max(each.latest for each in self._standings),
            done=sum(each.done for each in self._standings),
        )

    def _plans(self, server: Server) -> list[Plan]:
        share = -(-self.agents // PROCESSES)
        return [
            Plan(
                task=server["task"],
                registry=server["registry"],
                key=server["agent_key"],
                first=first,
                count=min(share, self.agents - first),
            )
            for first in range(0, self.agents, share)
        ]

    async def _create(self, server: Server) -> None:
        numbers = iter(range(self.agents))
        async with Client(f"http://{server['task']}", server["admin_key"]) as client:
            await spread(
                self.agents, IN_FLIGHT, lambda: client.create_task(capability(next(numbers)))
            )

    async def _read(self, place: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self._standings[place] = Standing(**json.loads(line))


def allow_connections() -> None:
    """Let this process and its children have as many files as they may: each connection is one."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _start(plan: Plan) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.idle_streams"),
        env=os.environ | {"BENCH_STREAMS": json.dumps(asdict(plan))},
        stdout=asyncio.subprocess.PIPE,
    )
