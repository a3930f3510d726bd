"""What tests of the SDK are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentmesh import Agent, Client
from agentmesh.connection import Connection
from agentmesh.worker import Worker
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica

AGENT = ("agent:register", "agent:heartbeat", "task:execute", "task:create", "task:read", "blob:*")
CALLER = ("task:*", "blob:*", "agent:read", "invocation:read")


@asynccontextmanager
async def working(agent: Agent, url: str, tokens: TokenFactory) -> AsyncIterator[Worker]:
    """Run an agent until the block ends; it then leaves in order."""
    worker = agent.worker(Connection(url, tokens.sign(*AGENT)), grace=5)
    running = asyncio.create_task(worker.run())
    try:
        await until_online(url, tokens, agent.name)
        yield worker
    finally:
        worker.leave()
        await running


async def until_online(url: str, tokens: TokenFactory, name: str) -> None:
    """Wait until an agent is online."""
    async with asyncio.timeout(30), client_of(url, tokens) as client:
        while name not in [each.name for each in await client.list_agents("state = ONLINE")]:
            await asyncio.sleep(0.01)


def client_of(url: str, tokens: TokenFactory) -> Client:
    """Return a client that may do anything with tasks."""
    return Client(url, tokens.sign(*CALLER))


def url_of(running: RunningReplica) -> str:
    """Return where a replica listens."""
    return f"http://{running.address}"
