"""Migrating."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from agentmesh.stack.postgres import EmbeddedPostgres
from meshkit.database.migrations import migrate
from meshkit.errors import Unavailable
from meshkit.ids import uuid7
from services.auth.create_key import MIGRATIONS

LATEST = max(path.stem[:4] for path in (MIGRATIONS / "versions").glob("*.py"))


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[URL]:
    """Make an empty database."""
    name = f"empty_{uuid7().hex}"
    await postgres.create_database(name)
    yield make_url(postgres.url(name))
    await postgres.drop_database(name)


async def test_runners_at_once_migrate_once_and_another_changes_nothing(
    postgres: EmbeddedPostgres, empty: URL, tmp_path: Path
) -> None:
    # A percent sign in the path would be a reference in a configuration file.
    migrations = tmp_path / "100%s"
    shutil.copytree(MIGRATIONS, migrations)
    await asyncio.gather(*(migrate(empty, migrations) for _ in range(3)))
    await migrate(empty, MIGRATIONS)

    connection = await postgres.connect(str(empty.database))
    versions = await connection.fetch("SELECT version_num FROM alembic_version")
    locks = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert [each["version_num"] for each in versions] == [LATEST]
    assert await connection.fetchval("SELECT count(*) FROM api_keys") == 0
    assert locks == 0
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    postgres: EmbeddedPostgres, empty: URL, tmp_path: Path
) -> None:
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    broken = migrations / "versions" / "0002_broken.py"
    broken.write_text(
        f'from alembic import op\nrevision = "next"\ndown_revision = "{LATEST}"\n'
        'def upgrade():\n    op.execute("CREATE TABLE half (); SELECT nonsense")\n'
    )
    with pytest.raises(Exception, match="nonsense"):
        await migrate(empty, migrations)

    connection = await postgres.connect(str(empty.database))
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == LATEST
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    await connection.close()


async def test_a_database_out_of_reach_is_named() -> None:
    with pytest.raises(Unavailable, match="The database missing can't be reached or migrated"):
        await migrate(make_url("postgresql+asyncpg:///missing?host=/nowhere"), MIGRATIONS)
