"""The analytics process: `python -m services.analytics`."""

from __future__ import annotations

from pathlib import Path

from mesh.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from meshkit.foundation import foundation
from meshkit.process import run
from services.analytics.servicer import AnalyticsServicer
from services.analytics.settings import Settings
from services.analytics.usecases import Invocations

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    async with foundation(Settings(), service="analytics", migrations=MIGRATIONS) as base:
        servicer = AnalyticsServicer(Invocations(base.database))
        server = base.server(base.identity.verifier)
        await server.add(add_AnalyticsServiceServicer_to_server, servicer).serve()


if __name__ == "__main__":
    run(serve)
