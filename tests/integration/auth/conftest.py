"""A served auth on a database of its own, which checks its callers itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from meshkit.database.engine import Database
from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.serving import Served, serving_all
from tests.integration.auth.people import People
from tests.integration.auth.replicas import Replica, replica

As = Callable[..., Awaitable[AuthServiceStub]]


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("auth")


@pytest.fixture
def auth(database: Database) -> Replica:
    return replica(database)


@pytest.fixture
async def served(auth: Replica) -> AsyncIterator[Served]:
    async with serving_all(auth.add_to, auth.verifier, beside=auth.background()) as served:
        yield served


@pytest.fixture
def as_role(auth: Replica, served: Served) -> As:
    """Call with a new key that holds the roles."""

    async def call(*roles: str, tenant: str = "acme") -> AuthServiceStub:
        return AuthServiceStub(served.channel(await auth.key(*roles, tenant=tenant)))

    return call


@pytest.fixture
def people(auth: Replica, served: Served) -> People:
    """Invite people and sign them in."""
    return People(auth, served)
