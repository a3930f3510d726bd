"""A served registry on a database of its own, and callers of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.registry.v1.registry_service_pb2_grpc import (
    RegistryServiceStub,
    add_RegistryServiceServicer_to_server,
)
from meshkit.database.engine import Database
from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.serving import Serve, Served
from meshkit.testing.tokens import TokenFactory
from services.registry.servicer import RegistryServicer
from services.registry.usecases import Agents


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("registry")


@pytest.fixture
async def served(database: Database, serve: Serve) -> Served:
    servicer = RegistryServicer(Agents(database, lease=timedelta(seconds=30)))
    return await serve(add_RegistryServiceServicer_to_server, servicer)


@pytest.fixture
def registry(served: Served, tokens: TokenFactory) -> RegistryServiceStub:
    """Call as an operator of the tenant `acme`."""
    return RegistryServiceStub(served.channel(tokens.sign("agent:*", tenant="acme")))


@pytest.fixture
def stranger(served: Served, tokens: TokenFactory) -> RegistryServiceStub:
    """Call as an operator of another tenant."""
    return RegistryServiceStub(served.channel(tokens.sign("agent:*", tenant="umbrella")))
