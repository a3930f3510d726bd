"""The task process: `python -m services.task`."""

from __future__ import annotations

from pathlib import Path

from meshkit.foundation import foundation
from meshkit.process import run
from services.task.peers import Analytics, Registry
from services.task.replica import Replica
from services.task.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    async with foundation(settings, service="task", migrations=MIGRATIONS) as base:
        registry = Registry(base.identity.channels)
        analytics = Analytics(base.identity.channels)
        replica = Replica(
            base.database,
            registry,
            analytics.publish,
            settings.dispatch,
            settings.blobs,
            bulk_settings=settings.bulk,
            retention_settings=settings.retention,
        )
        server = base.server(base.identity.verifier)
        replica.add_to(server)
        await server.serve(beside=replica.background())


if __name__ == "__main__":
    run(serve)
