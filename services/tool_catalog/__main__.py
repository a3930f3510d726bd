"""The tool catalogue process: `python -m services.tool_catalog`."""

from __future__ import annotations

from pathlib import Path

from mesh.tool_catalog.v1.tool_catalog_service_pb2_grpc import (
    add_ToolCatalogServiceServicer_to_server,
)
from meshkit.foundation import foundation
from meshkit.process import run
from services.tool_catalog.servicer import ToolCatalogServicer
from services.tool_catalog.settings import Settings
from services.tool_catalog.usecases import Tools

MIGRATIONS = Path(__file__).parent / "migrations"


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    async with foundation(Settings(), service="tool_catalog", migrations=MIGRATIONS) as base:
        servicer = ToolCatalogServicer(Tools(base.database))
        server = base.server(base.identity.verifier)
        await server.add(add_ToolCatalogServiceServicer_to_server, servicer).serve()


if __name__ == "__main__":
    run(serve)
