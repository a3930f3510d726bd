"""A database for each test, cloned from a template that is migrated once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy import make_url

from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.ids import uuid7
from meshkit.settings import DatabaseSettings

ServiceDatabase = Callable[[str], Awaitable[Database]]
"""Makes a migrated, empty database of the named service, which is dropped after the test."""


class PostgresServer(Protocol):
    """A PostgreSQL server on which databases can be made."""

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL (asyncpg) of a database."""
        ...

    async def create_database(self, name: str, *, template: str | None = None) -> bool:
        """Create a database; return False if it exists."""
        ...

    async def drop_database(self, name: str) -> bool:
        """Drop a database and end its sessions; return False if there was none."""
        ...


class Databases:
    """Makes databases of the services whose folders are in `services`."""

    def __init__(self, server: PostgresServer, services: Path) -> None:
        self._server = server
        self._services = services
        self._templates: set[str] = set()

    @asynccontextmanager
    async def cloned(self, service: str) -> AsyncIterator[Database]:
        """Give a migrated, empty database of a service, and drop it at the end."""
        template = await self._template(service)
        name = f"{service}_{uuid7().hex}"
        await self._server.create_database(name, template=template)
        database = Database(DatabaseSettings(url=SecretStr(self._server.url(name))))
        try:
            yield database
        finally:
            await database.close()
            await self._server.drop_database(name)

    async def _template(self, service: str) -> str:
        name = f"template_{service}"
        if name not in self._templates:
            await self._server.create_database(name)
            await migrate(make_url(self._server.url(name)), self._services / service / "migrations")
            self._templates.add(name)
        return name
