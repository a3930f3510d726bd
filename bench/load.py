"""No-op tasks from their creation to their recorded ends, past the gateway.

The agents run in processes of their own and the clients in the benchmark's. With several
servers each has an equal share of the clients and of the agents.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agentmesh import Client
from bench.agents import Fleet
from bench.ledger import Ledger
from bench.peers.protocol import spread

AGENTS = 10
PROCESSES = 2
IN_FLIGHT = 128
WARM_UP = 600

Server = dict[str, str]
"""What finds a mesh, or a replica of its task service: see `MeshStore.emptied`."""


@dataclass(frozen=True)
class Site:
    """One server's share.

    Attributes:
        server: To which its clients and agents are connected.
        capability: What its agents do. Clients of all sites create tasks for them.
    """

    server: Server
    capability: str


@dataclass(frozen=True)
class Work:
    """What was measured: so many tasks in so many seconds."""

    tasks: float
    seconds: float

    @property
    def rate(self) -> float:
        """Return the tasks a second."""
        return self.tasks / self.seconds


class Load:
    """A load that is ready to be measured."""

    def __init__(self, clients: Sequence[Client], sites: Sequence[Site], ledger: Ledger) -> None:
        self._ledger = ledger
        self._turns = itertools.cycle(
            [(client, site.capability) for client in clients for site in sites]
        )

    async def run(self, tasks: int) -> Work:
        """Create so many tasks, and go on until so many are done.

        One that is created counts half, and so does one that is done: where others wait before
        the new ones, more may be done than are created.
        """
        since = await self._ledger.now()
        begun = time.perf_counter()
        await spread(tasks, IN_FLIGHT, self._create)
        done = await self._ledger.ended_since(since, tasks)
        return Work((tasks + done) / 2, time.perf_counter() - begun)

    async def _create(self) -> None:
        client, capability = next(self._turns)
        await client.create_task(capability)


@asynccontextmanager
async def warm_load(sites: Sequence[Site], ledger: Ledger, tally: str) -> AsyncIterator[Load]:
    """Run the agents and the clients of sites; within, some tasks have been done."""
    async with AsyncExitStack() as stack:
        for site in sites:
            fleet = Fleet(site.server, site.capability, direct=True, tally=tally)
            running = fleet.running(AGENTS // len(sites), PROCESSES // len(sites))
            await stack.enter_async_context(running)
        clients = [
            await stack.enter_async_context(
                Client(f"http://{site.server['task']}", site.server["admin_key"])
            )
            for site in sites
        ]
        load = Load(clients, sites, ledger)
        await load.run(WARM_UP)
        yield load
