"""The registry process: `python -m services.registry`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mesh.registry.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server
from meshkit.foundation import foundation
from meshkit.process import run
from services.registry.servicer import RegistryServicer
from services.registry.settings import Settings
from services.registry.usecases import Agents

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    async with foundation(settings, service="registry", migrations=MIGRATIONS) as base:
        lease = timedelta(seconds=settings.registry.lease_duration)
        servicer = RegistryServicer(Agents(base.database, lease=lease))
        server = base.server(base.identity.verifier)
        await server.add(add_RegistryServiceServicer_to_server, servicer).serve()


if __name__ == "__main__":
    run(serve)
