"""The registry process: `python -m services.registry`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mesh.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.process import run
from meshkit.security.identity import Identity
from meshkit.server import Server
from meshkit.telemetry import logs, metrics, traces
from services.registry.servicer import RegistryServicer
from services.registry.settings import Settings
from services.registry.usecases import Agents

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    logs.configure_logs(settings.log, service="registry")
    metrics.serve_metrics(settings.metrics)
    database = Database(settings.database)
    if settings.database.migrate_at_start:
        await migrate(database.url, MIGRATIONS)
    identity = Identity(settings.identity, settings.peers)
    agents = Agents(database, lease=timedelta(seconds=settings.registry.lease_duration))
    server = Server(
        settings.grpc,
        verifier=identity.verifier,
        outermost=traces.tracing_interceptors(settings.telemetry, service="registry"),
        log_calls=settings.log.calls,
        readiness=[database.ping],
    )
    server.add(add_RegistryServiceServicer_to_server, RegistryServicer(agents))
    await server.serve()
    await identity.close()
    await database.close()


if __name__ == "__main__":
    run(serve)
