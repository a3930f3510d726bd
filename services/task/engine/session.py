"""The writer's own connection, and the database's clock as seen over it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy import URL

from meshkit.failpoints import failpoint

# The engine's statements find every row by an index, and their plans must stay so whatever the
# planner thinks of the tables' sizes: a generic plan is made once, and is the same at a thousand
# rows and at ten million.
_SETTINGS: Final = {
    "application_name": "agentmesh-writer",
    "timezone": "UTC",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "jit": "off",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "10000",
}

_CONNECT_SECONDS = 5.0
_CLOCK_SECONDS = 1.0


class Session:
    """One connection, opened when it is first needed and again after it was lost."""

    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: asyncpg.Connection[Any] | None = None
        self._read_at = 0.0
        self._time = datetime.min.replace(tzinfo=UTC)

    async def connection(self) -> Any:
        """Return the connection.

        Raises:
            OSError, asyncpg.PostgresError: There is none to be had.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn, server_settings=_SETTINGS, timeout=_CONNECT_SECONDS
            )
            self._read_at = 0.0
            failpoint("session.connected")
        return self._connection

    async def now(self) -> datetime:
        """Return the time by the database's clock.

        It is read once a second and goes on by this host's monotonic clock in
        between, so that a change of this host's time of day moves nothing.
        """
        monotonic = time.monotonic()
        if monotonic - self._read_at > _CLOCK_SECONDS:
            connection = await self.connection()
            before = time.monotonic()
            self._time = await connection.fetchval("SELECT clock_timestamp()")
            self._read_at = monotonic = before
        return self._time + timedelta(seconds=monotonic - self._read_at)

    def drop(self) -> None:
        """Give up a connection that may be broken."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
