"""A small mesh for tests that need task, registry and analytics together."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica


@pytest.fixture
async def stores(service_database: ServiceDatabase) -> Stores:
    """Make the databases of a small mesh."""
    return Stores(
        task=await service_database("task"),
        registry=await service_database("registry"),
        analytics=await service_database("analytics"),
    )


@pytest.fixture
async def small_mesh(stores: Stores, tokens: TokenFactory) -> AsyncIterator[RunningReplica]:
    """Run one replica of it."""
    async with replica(stores, tokens) as running:
        yield running
