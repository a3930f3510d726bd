"""One leader at a time among the sessions of a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy import URL

_ASK_SECONDS = 1.0
_STATEMENT_SECONDS = 15.0
# A host that vanished without a word must not hold the lock until TCP notices by itself.
_KEEPALIVE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


LOST: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What a statement raises that is sent just as the server says goodbye.
    asyncpg.InternalClientError,
)
"""What tells, when a statement raises it, that the connection can't be used any more."""


@asynccontextmanager
async def leading(
    url: URL, lock: int, *, settings: Mapping[str, str]
) -> AsyncIterator[asyncpg.Connection]:
    """Wait until no other session holds the advisory lock, and give the connection that does.

    What is done on that connection is done by the leader: a session that ended, for
    whatever reason, has lost the lock and can do nothing more. The next one to ask
    has it, within about a second, or ten if a host vanished.

    Raises:
        One of `LOST`: The database can't be reached.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    session = {"application_name": "agentmesh relay", **_KEEPALIVE, **settings}
    connection = await asyncpg.connect(
        dsn, command_timeout=_STATEMENT_SECONDS, server_settings=session
    )
    try:
        # To wait within the statement would hold a snapshot, and with it back every vacuum.
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):  # noqa: ASYNC110 - nobody tells of a lock that is free
            await asyncio.sleep(_ASK_SECONDS)
        yield connection
    finally:
        connection.terminate()
