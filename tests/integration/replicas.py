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

from mesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from mesh.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from mesh.task.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from mesh.task.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from meshkit.client import Channels
from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.events import outbox
from meshkit.events.relay import Relay
from meshkit.server import Server
from meshkit.settings import GrpcSettings, PeerSettings
from meshkit.testing.tokens import TokenFactory
from services.analytics.servicer import AnalyticsServicer
from services.analytics.usecases import Invocations
from services.registry.servicer import RegistryServicer
from services.registry.usecases import Agents
from services.task.dispatcher import Dispatcher
from services.task.domain import RetryPolicy
from services.task.peers import Analytics, Registry
from services.task.reaper import Reaper
from services.task.servicer.dispatch import DispatchServicer
from services.task.servicer.tasks import TaskServicer
from services.task.settings import DispatchSettings
from services.task.store import history, tasks
from services.task.usecases.attempts import Attempts
from services.task.usecases.tasks import Tasks
from services.task.watching import Watching

SERVICE_PERMISSIONS = ("mesh:delegate", "agent:read", "invocation:create")
# Heartbeats often, so that what they carry is seen at once; a lease far longer than any test.
RULES = DispatchSettings(lease=600, heartbeat=0.05, reap_interval=0.05, retry_backoff=0.01)


@dataclass
class Stores:
    """The databases that replicas share."""

    task: Database
    registry: Database
    analytics: Database


@dataclass
class Replica:
    """One running replica, and its parts."""

    port: int
    attempts: Attempts
    dispatcher: Dispatcher
    relay: Relay
    invocations: Invocations
    server: Server

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def replica(
    stores: Stores, tokens: TokenFactory, *, rules: DispatchSettings = RULES
) -> AsyncIterator[Replica]:
    """Run a replica of task, with registry and analytics on the same port."""

    async def token() -> str:
        return tokens.sign(*SERVICE_PERMISSIONS, subject="service:task")

    port = free_port()
    address = f"127.0.0.1:{port}"
    channels = Channels(PeerSettings(registry=address, analytics=address), token)
    registry = Registry(channels)
    retries = RetryPolicy(rules.retry_backoff, rules.retry_backoff_max)
    attempts = Attempts(stores.task, retries, lease_seconds=rules.lease)
    dispatcher = Dispatcher(attempts)
    use_cases = Tasks(stores.task, registry)
    watching = Watching(use_cases)
    relay = Relay(stores.task, Analytics(channels).publish)
    reaper = Reaper(attempts, dispatcher.heard_of_work, interval=rules.reap_interval)
    notifications = Notifications(
        stores.task.url,
        {
            tasks.QUEUED: dispatcher.heard_of_work,
            history.CANCELLED: dispatcher.heard_of_cancellation,
            history.CHANGED: watching.heard_of_change,
            outbox.APPENDED: relay.wake,
        },
    )
    invocations = Invocations(stores.analytics)
    agents = Agents(stores.registry, lease=timedelta(seconds=30))
    settings = GrpcSettings(port=port, drain_delay=0, grace=0.2)
    server = Server(settings, verifier=tokens.verifier).on_drain(dispatcher.drain)
    server.add(add_RegistryServiceServicer_to_server, RegistryServicer(agents))
    server.add(add_AnalyticsServiceServicer_to_server, AnalyticsServicer(invocations))
    server.add(
        add_TaskServiceServicer_to_server, TaskServicer(use_cases, watching, default_attempts=3)
    )
    server.add(
        add_DispatchServiceServicer_to_server,
        DispatchServicer(attempts, dispatcher, registry, rules),
    )
    background = [
        asyncio.create_task(each.run()) for each in (dispatcher, reaper, relay, notifications)
    ]
    await server.start()
    try:
        yield Replica(port, attempts, dispatcher, relay, invocations, server)
    finally:
        await server.drain()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await channels.close()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
