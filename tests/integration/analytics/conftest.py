"""A served analytics service on a database of its own, and callers of it."""

from __future__ import annotations

import pytest

from mesh.analytics.v1.analytics_service_pb2_grpc import (
    AnalyticsServiceStub,
    add_AnalyticsServiceServicer_to_server,
)
from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.serving import Serve, Served
from meshkit.testing.tokens import TokenFactory
from services.analytics.servicer import AnalyticsServicer
from services.analytics.usecases import Invocations


@pytest.fixture
async def served(service_database: ServiceDatabase, serve: Serve) -> Served:
    servicer = AnalyticsServicer(Invocations(await service_database("analytics")))
    return await serve(add_AnalyticsServiceServicer_to_server, servicer)


@pytest.fixture
def analytics(served: Served, tokens: TokenFactory) -> AnalyticsServiceStub:
    """Call as an operator of the tenant `acme`."""
    return AnalyticsServiceStub(served.channel(tokens.sign("invocation:*", tenant="acme")))


@pytest.fixture
def stranger(served: Served, tokens: TokenFactory) -> AnalyticsServiceStub:
    """Call as an operator of another tenant."""
    return AnalyticsServiceStub(served.channel(tokens.sign("invocation:*", tenant="umbrella")))
