"""A database for each test, cloned from a template that is migrated once.

A clone takes longer than most tests, so that one which is given back is made as new and given
out again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from pydantic import SecretStr
from sqlalchemy import make_url

from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.ids import uuid7
from meshkit.settings import DatabaseSettings
from meshkit.testing.templates import Template

ServiceDatabase = Callable[[str], Awaitable[Database]]
"""Gives a migrated, empty database of the named service, until the end of the test."""


class PostgresServer(Protocol):
    """A PostgreSQL server on which databases can be made."""

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL (asyncpg) of a database."""
        ...

    async def connect(self, database: str) -> Any:
        """Open an asyncpg connection; the caller closes it."""
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
        self._templates: dict[str, Template] = {}
        self._idle: dict[str, list[str]] = {}

    @asynccontextmanager
    async def cloned(self, service: str) -> AsyncIterator[Database]:
        """Give a migrated, empty database of a service that nobody else has."""
        template = await self._template(service)
        idle = self._idle.setdefault(service, [])
        name = idle.pop() if idle else await self._clone(service, template)
        database = Database(DatabaseSettings(url=SecretStr(self._server.url(name))))
        try:
            yield database
        finally:
            await database.close()
            if await self._restored(template, name):
                idle.append(name)
            else:
                await self._server.drop_database(name)

    async def _clone(self, service: str, template: Template) -> str:
        name = f"{service}_{uuid7().hex}"
        await self._server.create_database(name, template=template.name)
        return name

    async def _restored(self, template: Template, name: str) -> bool:
        try:
            connection = await self._server.connect(name)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            return await template.restore(connection)
        finally:
            await connection.close()

    async def _template(self, service: str) -> Template:
        if service not in self._templates:
            name = f"template_{service}"
            await self._server.create_database(name)
            await migrate(make_url(self._server.url(name)), self._services / service / "migrations")
            connection = await self._server.connect(name)
            try:
                self._templates[service] = await Template.read(name, connection)
            finally:
                await connection.close()
        return self._templates[service]
