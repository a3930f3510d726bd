"""Fixtures for every test that needs a database or a served service.

A typical service fixture: `database = await service_database("auth")`, then
`served = await serve(add_AuthServiceServicer_to_server, servicer)`, then
`AuthServiceStub(served.channel(tokens.sign("key:read", tenant="acme")))`.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from agentmesh.stack.postgres import EmbeddedPostgres
from meshkit.database.engine import Database
from meshkit.testing.databases import Databases, ServiceDatabase
from meshkit.testing.serving import Register, Serve, Served, serving
from meshkit.testing.tokens import TokenFactory

SERVICES = Path(__file__).parent.parent / "services"
FAST_AND_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    """Run one real PostgreSQL for the whole session.

    Not below pytest's own temporary directory, which each session closes to other
    accounts, and so to the one that PostgreSQL runs under when the tests run as root.
    """
    with tempfile.TemporaryDirectory(prefix="agentmesh-") as temporary:
        directory = Path(temporary) / "data"
        async with EmbeddedPostgres(directory, settings=FAST_AND_UNSAFE, durable=False) as server:
            yield server


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    """Keep the migrated templates for the whole session."""
    return Databases(postgres, SERVICES)


@pytest.fixture
async def service_database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    """Make databases of services for one test, each migrated and empty."""
    async with AsyncExitStack() as cleanup:

        async def clone(service: str) -> Database:
            return await cleanup.enter_async_context(databases.cloned(service))

        yield clone


@pytest.fixture
def tokens() -> TokenFactory:
    """Sign access tokens that this test's servers accept."""
    return TokenFactory()


@pytest.fixture
async def serve(tokens: TokenFactory) -> AsyncIterator[Serve]:
    """Serve servicers for one test, each on a free port."""
    async with AsyncExitStack() as cleanup:

        async def serve_until_the_end(register: Register, servicer: object) -> Served:
            return await cleanup.enter_async_context(serving(register, servicer, tokens.verifier))

        yield serve_until_the_end
