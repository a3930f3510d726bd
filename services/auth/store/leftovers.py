"""SQL that removes, some at a time, what is over: sessions, tokens, failed sign-ins.

Each deals with up to `most` rows and returns how many there were.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

_AGE: Final = bindparam("age", type_=Interval)
_SESSIONS: Final = text(
    """
    DELETE FROM sessions WHERE id = ANY(ARRAY(
        SELECT id FROM sessions WHERE coalesce(end_time, expire_time) < now() - :age
        ORDER BY coalesce(end_time, expire_time) LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
).bindparams(_AGE)
_PASSWORD_TOKENS: Final = text(
    """
    DELETE FROM password_tokens WHERE user_id = ANY(ARRAY(
        SELECT user_id FROM password_tokens WHERE expire_time < now() - :age
        ORDER BY expire_time LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
).bindparams(_AGE)
_FAILURES: Final = text(
    """
    DELETE FROM sign_in_failures WHERE address = ANY(ARRAY(
        SELECT address FROM sign_in_failures WHERE begin_time < now() - :age
        ORDER BY begin_time LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
).bindparams(_AGE)


async def remove_sessions(connection: AsyncConnection, age: timedelta, most: int) -> int:
    """Remove sessions that ended or expired so long ago."""
    return (await connection.execute(_SESSIONS, {"age": age, "most": most})).rowcount


async def remove_password_tokens(connection: AsyncConnection, age: timedelta, most: int) -> int:
    """Remove tokens that expired so long ago."""
    return (await connection.execute(_PASSWORD_TOKENS, {"age": age, "most": most})).rowcount


async def remove_failures(connection: AsyncConnection, age: timedelta, most: int) -> int:
    """Remove failures whose window began so long ago."""
    return (await connection.execute(_FAILURES, {"age": age, "most": most})).rowcount
