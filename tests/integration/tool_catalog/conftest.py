"""A served tool catalogue on a database of its own, and callers of it."""

from __future__ import annotations

import pytest

from mesh.tool_catalog.v1.tool_catalog_service_pb2_grpc import (
    ToolCatalogServiceStub,
    add_ToolCatalogServiceServicer_to_server,
)
from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.serving import Serve, Served
from meshkit.testing.tokens import TokenFactory
from services.tool_catalog.servicer import ToolCatalogServicer
from services.tool_catalog.usecases import Tools


@pytest.fixture
async def served(service_database: ServiceDatabase, serve: Serve) -> Served:
    servicer = ToolCatalogServicer(Tools(await service_database("tool_catalog")))
    return await serve(add_ToolCatalogServiceServicer_to_server, servicer)


@pytest.fixture
def catalog(served: Served, tokens: TokenFactory) -> ToolCatalogServiceStub:
    """Call as an operator of the tenant `acme`."""
    token = tokens.sign("tool:*", tenant="acme", subject="key:operator")
    return ToolCatalogServiceStub(served.channel(token))


@pytest.fixture
def stranger(served: Served, tokens: TokenFactory) -> ToolCatalogServiceStub:
    """Call as an operator of another tenant."""
    return ToolCatalogServiceStub(served.channel(tokens.sign("tool:*", tenant="umbrella")))
