"""SQL of failed sign-ins, by the digest of an address."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.auth.domain.attempts import Failures

_GET: Final = text("SELECT failures, begin_time FROM sign_in_failures WHERE address = :address")
_LOCK: Final = text(
    "SELECT failures, begin_time FROM sign_in_failures WHERE address = :address FOR UPDATE"
)
_ADD: Final = text(
    """
    INSERT INTO sign_in_failures AS known (address, failures, begin_time)
    VALUES (:address, 1, now())
    ON CONFLICT (address) DO UPDATE SET
        failures = CASE WHEN known.begin_time > now() - :span THEN known.failures + 1 ELSE 1 END,
        begin_time = CASE WHEN known.begin_time > now() - :span THEN known.begin_time ELSE now() END
    RETURNING failures, begin_time
    """
).bindparams(bindparam("span", type_=Interval))
_CLEAR: Final = text("DELETE FROM sign_in_failures WHERE address = :address")


async def get_failures(connection: AsyncConnection, address: bytes) -> Failures | None:
    """Return the failures of an address, however old, or None."""
    row = (await connection.execute(_GET, {"address": address})).one_or_none()
    return None if row is None else Failures(row.failures, row.begin_time)


async def lock_failures(connection: AsyncConnection, address: bytes) -> Failures | None:
    """Return the same; nobody else adds to them until the transaction ends."""
    row = (await connection.execute(_LOCK, {"address": address})).one_or_none()
    return None if row is None else Failures(row.failures, row.begin_time)


async def add_failure(connection: AsyncConnection, address: bytes, window: timedelta) -> Failures:
    """Count one more failure, in a new window if the last is over; return what there are now."""
    row = (await connection.execute(_ADD, {"address": address, "span": window})).one()
    return Failures(row.failures, row.begin_time)


async def clear_failures(connection: AsyncConnection, address: bytes) -> None:
    """Forget the failures of an address."""
    await connection.execute(_CLEAR, {"address": address})
