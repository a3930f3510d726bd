"""The outbox: events written in the transaction of their change; neither is without the other.

Each service that announces something has the tables of `OUTBOX_DDL` in its
database, and runs a `meshkit.events.relay.Relay` that empties them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

APPENDED: Final = "outbox"
"""Channel that is notified once, at the commit of a transaction that appended events."""

OUTBOX_DDL: Final = (
    # Positions must be drawn one at a time: with a CACHE they would not follow the commits of a
    # key. A queue that is nearly empty would be truncated, and so locked, at each vacuum.
    """
    CREATE TABLE outbox (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL,
        type text NOT NULL,
        tenant text NOT NULL,
        key text NOT NULL,
        payload bytea NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now()
    ) WITH (
        autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_cost_delay = 0,
        vacuum_truncate = false
    )
    """,
    """
    CREATE TABLE outbox_dead (
        position bigint PRIMARY KEY,
        id uuid NOT NULL,
        type text NOT NULL,
        tenant text NOT NULL,
        key text NOT NULL,
        payload bytea NOT NULL,
        create_time timestamptz NOT NULL,
        failure text NOT NULL,
        fail_time timestamptz NOT NULL DEFAULT now()
    )
    """,
)
"""Statements that make the outbox, and the table of events that were refused for good.

A migration executes them one by one. Dead events go out again with
`INSERT INTO outbox (id, type, tenant, key, payload) SELECT id, type, tenant, key, payload
FROM outbox_dead ORDER BY position`, after which they can be deleted there.
"""


class Event(NamedTuple):
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


# The transaction has its id before the first position is drawn; the reader counts on that.
_APPEND: Final = """
    WITH appended AS (
        INSERT INTO outbox (id, type, tenant, key, payload)
        SELECT event.*
        FROM pg_current_xact_id() AS xid,
            unnest(
                CAST({id} AS uuid[]), CAST({type} AS text[]), CAST({tenant} AS text[]),
                CAST({key} AS text[]), CAST({payload} AS bytea[])
            ) AS event
    )
    SELECT pg_notify('outbox', '')
"""
_FIELDS: Final = ("id", "type", "tenant", "key", "payload")
_APPEND_RAW: Final = _APPEND.format(**{name: f"${n}" for n, name in enumerate(_FIELDS, 1)})
_APPEND_TEXT: Final = text(_APPEND.format(**{name: f":{name}" for name in _FIELDS}))


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Write events in their order; they are published if, and only if, the transaction commits.

    Events of one key reach consumers in the order of their transactions if each
    transaction, before it appends, has written or locked the row that the key names.
    """
    if events:
        columns = _columns(events)
        await connection.execute(_APPEND_TEXT, dict(zip(_FIELDS, columns, strict=True)))


async def append_raw(connection: asyncpg.Connection, events: Sequence[Event]) -> None:
    """Do what `append` does on a connection of asyncpg, within the transaction it has open."""
    if events:
        await connection.execute(_APPEND_RAW, *_columns(events))


def _columns(events: Sequence[Event]) -> tuple[list[Any], ...]:
    return (
        [event.id for event in events],
        [event.type for event in events],
        [event.tenant for event in events],
        [event.key for event in events],
        [event.payload for event in events],
    )
