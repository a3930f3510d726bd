"""A small mesh within the test's process: task, registry and analytics behind one port.

Real servers, real databases, real streams; only the processes are missing, so
that a test can look into every part.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from mesh.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from meshkit.client import Channels
from meshkit.database.engine import Database
from meshkit.server import Server
from meshkit.settings import GrpcSettings, PeerSettings
from meshkit.testing.tokens import TokenFactory
from services.analytics.servicer import AnalyticsServicer
from services.analytics.usecases import Invocations
from services.registry.servicer import RegistryServicer
from services.registry.usecases import Agents
from services.task.peers import Analytics, Registry
from services.task.replica import Replica
from services.task.settings import DispatchSettings

SERVICE_PERMISSIONS = ("mesh:delegate", "agent:read", "invocation:create")
# Heartbeats often, so that what they carry is seen at once; a lease far longer than any test.
RULES = DispatchSettings(lease=600, heartbeat=0.05, look_interval=0.05, retry_backoff=0.01)


@dataclass
class Stores:
    """The databases that replicas share."""

    task: Database
    registry: Database
    analytics: Database


@dataclass
class RunningReplica:
    """One running replica: where it listens, and its parts."""

    port: int
    task: Replica

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def replica(
    stores: Stores, tokens: TokenFactory, *, rules: DispatchSettings = RULES, **settings: Any
) -> AsyncIterator[RunningReplica]:
    """Run a replica of task, with registry and analytics on the same port.

    `settings` are others of the replica, by their names.
    """

    async def token() -> str:
        return tokens.sign(*SERVICE_PERMISSIONS, subject="service:task")

    port = free_port()
    address = f"127.0.0.1:{port}"
    # A busy machine is no peer that is away.
    peers = PeerSettings(registry=address, analytics=address, timeout=30)
    channels = Channels(peers, token)
    task = Replica(stores.task, Registry(channels), Analytics(channels).publish, rules, **settings)
    agents = Agents(stores.registry, lease=timedelta(seconds=30))
    server = Server(GrpcSettings(port=port, drain_delay=0, grace=0.2), verifier=tokens.verifier)
    task.add_to(server)
    server.add(add_RegistryServiceServicer_to_server, RegistryServicer(agents))
    server.add(
        add_AnalyticsServiceServicer_to_server, AnalyticsServicer(Invocations(stores.analytics))
    )
    background = [asyncio.create_task(part) for part in task.background()]
    await server.start()
    try:
        yield RunningReplica(port, task)
    finally:
        await server.drain()
        for part in background:
            part.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await channels.close()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
