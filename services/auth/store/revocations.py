"""SQL of revocations: which credentials have ended or changed, and since when."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.security.revocations import Revocation

CHANNEL: Final = "revoked"
"""Channel on which each revocation is notified, at the commit: `<time> <credential>`."""

# No token of what has ended may work, not even one that was issued at the same moment.
_FOR_GOOD: Final = timedelta(days=1)
# A token that was issued before the change could be seen may be so much younger than it.
_CHANGING: Final = timedelta(milliseconds=100)
_SINCE: Final = bindparam("age", type_=Interval)
_INSERT: Final = text(
    """
    WITH revoked AS (
        INSERT INTO revocations (tenant, credential, not_before)
        VALUES (:tenant, :credential, clock_timestamp() + :ahead) RETURNING credential, not_before
    )
    SELECT pg_notify(:channel, extract(epoch FROM not_before) || ' ' || credential) FROM revoked
    """
).bindparams(bindparam("ahead", type_=Interval))
_RECENT: Final = text(
    """
    SELECT credential, max(not_before) AS not_before FROM revocations
    WHERE not_before > clock_timestamp() - :age GROUP BY credential
    """
).bindparams(_SINCE)
_DELETE: Final = text(
    """
    DELETE FROM revocations WHERE id = ANY(ARRAY(
        SELECT id FROM revocations WHERE not_before < clock_timestamp() - :age
        ORDER BY not_before LIMIT 500
    ))
    """
).bindparams(_SINCE)


async def revoke(connection: AsyncConnection, tenant: str, credential: str) -> None:
    """Have everything refused that was got with a key or a session, which has ended."""
    await _insert(connection, tenant, credential, _FOR_GOOD)


async def tell_of_change(connection: AsyncConnection, tenant: str, credential: str) -> None:
    """Have tokens of a subject or a tenant that were issued before now be refused."""
    await _insert(connection, tenant, credential, _CHANGING)


async def _insert(
    connection: AsyncConnection, tenant: str, credential: str, ahead: timedelta
) -> None:
    values = {"tenant": tenant, "credential": credential, "channel": CHANNEL, "ahead": ahead}
    await connection.execute(_INSERT, values)


async def recent(connection: AsyncConnection, age: timedelta) -> list[Revocation]:
    """Return the latest revocation of each credential that was revoked within `age`."""
    rows = await connection.execute(_RECENT, {"age": age})
    return [Revocation(row.credential, row.not_before) for row in rows]


async def delete_old(connection: AsyncConnection, age: timedelta) -> int:
    """Forget some of those older than `age`; return how many."""
    return (await connection.execute(_DELETE, {"age": age})).rowcount
