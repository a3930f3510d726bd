"""A database with nothing but an outbox, and a publisher."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agentmesh.stack.postgres import EmbeddedPostgres
from meshkit.database.engine import Database
from meshkit.events.outbox import OUTBOX_DDL
from meshkit.ids import uuid7
from meshkit.settings import DatabaseSettings
from tests.integration.events.happenings import Publisher, raw


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    name = f"outbox_{uuid7().hex}"
    await postgres.create_database(name)
    database = Database(DatabaseSettings(url=SecretStr(postgres.url(name))))
    await database.transaction(_create)
    yield database
    await database.close()
    await postgres.drop_database(name)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await raw(database)
    yield connection
    await connection.close()


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


async def _create(tx: AsyncConnection) -> None:
    for statement in OUTBOX_DDL:
        await tx.execute(text(statement))
