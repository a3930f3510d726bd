"""SDK agents for a benchmark, several in one process, and processes of them.

`python -m bench.agents` is such a process; BENCH_AGENTS holds its fleet as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agentmesh import Agent, Client, TaskContext
from agentmesh.connection import Connection
from agentmesh.worker import Worker
from bench.direct import DirectConnection
from bench.peers.tally import Tally

START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Fleet:
    """Agents of one capability.

    Attributes:
        server: What the mesh is found by.
        capability: Of all of them.
        direct: Whether they pass the gateway by.
        tally: Directory in which they count; empty for none.
        stamps: Directory in which they note when each task came; empty for none.
        names: Of the agents in one process.
        slots: Of each agent.
    """

    server: dict[str, str]
    capability: str
    direct: bool
    tally: str = ""
    stamps: str = ""
    names: tuple[str, ...] = ()
    slots: int = 20

    def connection(self) -> Connection:
        """Return what its agents connect by."""
        if not self.direct:
            return Connection(self.server["gateway"], self.server["agent_key"])
        return DirectConnection(
            f"http://{self.server['task']}",
            self.server["agent_key"],
            f"http://{self.server['registry']}",
        )

    @asynccontextmanager
    async def running(self, agents: int, processes: int) -> AsyncIterator[None]:
        """Run the agents, spread over processes; within, all are online."""
        names = [f"{self.capability}.{number}" for number in range(agents)]
        fleets = [replace(self, names=tuple(names[first::processes])) for first in range(processes)]
        started = [await _start(fleet) for fleet in fleets]
        try:
            await self._online(agents)
            yield
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)

    async def _online(self, agents: int) -> None:
        online = f'capability = "{self.capability}" AND state = ONLINE'
        async with Client(self.server["gateway"], self.server["admin_key"]) as client:
            async with asyncio.timeout(START_SECONDS):
                while len(await client.list_agents(online)) < agents:  # noqa: ASYNC110 - it is told by nobody
                    await asyncio.sleep(POLL_SECONDS)


async def _start(fleet: Fleet) -> asyncio.subprocess.Process:
    environment = os.environ | {"BENCH_AGENTS": json.dumps(asdict(fleet))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.agents", env=environment, stdout=sys.stderr
    )


async def serve(fleet: Fleet) -> None:
    """Run a process's agents until SIGTERM."""
    note = _note(fleet)
    workers = [_worker(fleet, name, note) for name in fleet.names]
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _leave, workers)
    await asyncio.gather(*(worker.run() for worker in workers))


def _worker(fleet: Fleet, name: str, note: Callable[[str], None]) -> Worker:
    agent = Agent(name)

    @agent.task(fleet.capability)
    async def noop(context: TaskContext) -> None:
        note(context.task_id)

    return Worker(
        fleet.connection(),
        name=name,
        description="",
        labels={},
        slots=fleet.slots,
        handlers=agent.handlers,
        grace=5.0,
    )


def _note(fleet: Fleet) -> Callable[[str], None]:
    """Return what is done with each task's id."""
    if fleet.stamps:
        # Line buffered: who reads it needn't wait for the process to end.
        file = (Path(fleet.stamps) / str(os.getpid())).open("w", buffering=1)
        return lambda task_id: print(task_id, time.monotonic(), file=file)
    tally = Tally(fleet.tally)
    return lambda _: tally.add()


def _leave(workers: list[Worker]) -> None:
    for worker in workers:
        worker.leave()


if __name__ == "__main__":
    asyncio.run(serve(Fleet(**json.loads(os.environ["BENCH_AGENTS"]))))
