"""Brings a service's schema up to date, one runner at a time, a transaction for each revision."""

from __future__ import annotations

from pathlib import Path

import structlog
from alembic import command, context
from alembic.config import Config
from sqlalchemy import URL, Connection, pool, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from meshkit.errors import Unavailable

log = structlog.get_logger()

_LOCK_KEY = 0x6D657368  # "mesh": one advisory lock a database, whoever migrates it
_LOCK_TIMEOUT = "5s"


async def migrate(url: URL, migrations: Path, *, revision: str = "head") -> None:
    """Run the migrations that are pending.

    Safe to call from every replica at once: one works, the others wait and find
    nothing to do. A migration that can't get a table lock within 5 s fails rather
    than queue up everybody behind it.

    Raises:
        Unavailable: The database can't be reached.
    """
    engine = create_async_engine(url, poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
            await connection.commit()
            await connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            await connection.commit()
            await connection.run_sync(_upgrade, migrations, revision)
    except (OSError, OperationalError, InterfaceError) as error:
        raise Unavailable(
            f"The database {url.database} can't be reached or migrated: {error}"
        ) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, migrations: Path, revision: str) -> None:
    config = Config()
    # A configuration file would read a percent sign as the start of a reference.
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def run_environment() -> None:
    """Be the body of each service's `migrations/env.py`."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
