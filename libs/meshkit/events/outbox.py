"""The outbox: events written in the transaction of their change; neither is without the other.

Each service's database has a table `outbox (id, type, tenant, key, payload,
create_time, claim_expire_time)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

APPENDED: Final = "outbox"
"""Channel that is notified, at the commit, when an event was appended."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        id: Unique; consumers tell repeats by it.
        type: Full name of the payload's message.
        key: What it happened to.
        payload: The serialized message.
    """

    id: UUID
    type: str
    tenant: str
    key: str
    payload: bytes


_APPEND: Final = text(
    """
    INSERT INTO outbox (id, type, tenant, key, payload)
    VALUES (:id, :type, :tenant, :key, :payload)
    RETURNING pg_notify('outbox', '')
    """
)

# Rows are claimed one by one: a cursor over ids would skip those that commit late.
_CLAIM: Final = text(
    """
    UPDATE outbox SET claim_expire_time = now() + :claim
    WHERE id = ANY(ARRAY(
        SELECT id FROM outbox
        WHERE claim_expire_time IS NULL OR claim_expire_time < now()
        ORDER BY id
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, type, tenant, key, payload
    """
)

_REMOVE: Final = text("DELETE FROM outbox WHERE id = ANY(:ids)")
_UNCLAIM: Final = text("UPDATE outbox SET claim_expire_time = NULL WHERE id = ANY(:ids)")


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Write events; they are published if, and only if, the transaction commits."""
    for event in events:
        await connection.execute(
            _APPEND,
            {
                "id": event.id,
                "type": event.type,
                "tenant": event.tenant,
                "key": event.key,
                "payload": event.payload,
            },
        )


async def claim(connection: AsyncConnection, *, most: int, seconds: float) -> list[Event]:
    """Take up to `most` unpublished events, the oldest first, for `seconds`."""
    result = await connection.execute(_CLAIM, {"claim": timedelta(seconds=seconds), "most": most})
    events = [Event(row.id, row.type, row.tenant, row.key, row.payload) for row in result]
    return sorted(events, key=lambda event: event.id)


async def remove(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Forget events that are published."""
    await connection.execute(_REMOVE, {"ids": list(ids)})


async def unclaim(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Give events back that could not be published."""
    await connection.execute(_UNCLAIM, {"ids": list(ids)})
