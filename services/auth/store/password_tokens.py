"""SQL of the tokens with which users choose a password; each user has at most one."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PUT: Final = text(
    """
    INSERT INTO password_tokens (user_id, digest, expire_time)
    VALUES (:user_id, :digest, :expire_time)
    ON CONFLICT (user_id) DO UPDATE SET digest = excluded.digest, expire_time = excluded.expire_time
    """
)
_WORKS: Final = text(
    "SELECT EXISTS (SELECT FROM password_tokens WHERE digest = :digest AND expire_time > now())"
)
_TAKE: Final = text(
    "DELETE FROM password_tokens WHERE digest = :digest AND expire_time > now() RETURNING user_id"
)
_VOID: Final = text("DELETE FROM password_tokens WHERE user_id = :user_id")


async def put(
    connection: AsyncConnection, user_id: UUID, digest: bytes, expire_time: datetime
) -> None:
    """Store a token by its digest; one that the user had before works no more."""
    values = {"user_id": user_id, "digest": digest, "expire_time": expire_time}
    await connection.execute(_PUT, values)


async def works(connection: AsyncConnection, digest: bytes) -> bool:
    """Tell whether there is a token with this digest that has not expired."""
    return bool((await connection.execute(_WORKS, {"digest": digest})).scalar_one())


async def take(connection: AsyncConnection, digest: bytes) -> UUID | None:
    """Use a token up; return its user, or None if it doesn't work. Of several one gets it."""
    user_id: UUID | None = (await connection.execute(_TAKE, {"digest": digest})).scalar()
    return user_id


async def void(connection: AsyncConnection, user_id: UUID) -> None:
    """Have the user's token, if it has one, work no more."""
    await connection.execute(_VOID, {"user_id": user_id})
