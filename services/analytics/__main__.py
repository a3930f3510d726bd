"""The analytics process: `python -m services.analytics`."""

from __future__ import annotations

from pathlib import Path

from mesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.process import run
from meshkit.security.identity import Identity
from meshkit.server import Server
from meshkit.telemetry import logs, metrics, traces
from services.analytics.servicer import AnalyticsServicer
from services.analytics.settings import Settings
from services.analytics.usecases import Invocations

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    logs.configure_logs(settings.log, service="analytics")
    metrics.serve_metrics(settings.metrics)
    database = Database(settings.database)
    if settings.database.migrate_at_start:
        await migrate(database.url, MIGRATIONS)
    identity = Identity(settings.identity, settings.peers)
    server = Server(
        settings.grpc,
        verifier=identity.verifier,
        outermost=traces.tracing_interceptors(settings.telemetry, service="analytics"),
        log_calls=settings.log.calls,
        readiness=[database.ping],
    )
    server.add(add_AnalyticsServiceServicer_to_server, AnalyticsServicer(Invocations(database)))
    await server.serve()
    await identity.close()
    await database.close()


if __name__ == "__main__":
    run(serve)
