"""Counting the tasks that name a blob, in the transactions that create and delete them.

The functions take a connection of asyncpg within the transaction it has open. They
lock blobs in the order of their ids, each call for itself: so a transaction that
makes one call never deadlocks with another such.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

_MARK: Final = """
    WITH naming AS (
        SELECT * FROM unnest($1::integer[], $2::text[], $3::uuid[])
            AS naming (number, tenant, blob_id)
    ), held AS (
        SELECT id, tenant FROM blobs
        WHERE id = ANY ($3::uuid[]) AND state = 'stored'
        ORDER BY id
        FOR NO KEY UPDATE
    ), missing AS (
        SELECT DISTINCT number, blob_id FROM naming
        WHERE NOT EXISTS (
            SELECT FROM held WHERE held.id = naming.blob_id AND held.tenant = naming.tenant
        )
    ), named AS (
        SELECT blob_id, count(*)::integer AS times FROM naming
        WHERE number NOT IN (SELECT number FROM missing)
        GROUP BY blob_id
    ), counted AS (
        UPDATE blobs SET uses = uses + named.times, expire_time = NULL
        FROM named
        WHERE id = named.blob_id
    )
    SELECT number, blob_id FROM missing
"""
_FORGET: Final = """
    WITH held AS (
        SELECT id FROM blobs WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
    ), named AS (
        SELECT held.id, count(*)::integer AS times
        FROM unnest($1::uuid[]) AS each (id) JOIN held USING (id)
        GROUP BY held.id
    )
    UPDATE blobs
    SET uses = uses - named.times,
        expire_time = CASE WHEN uses = named.times THEN now() ELSE expire_time END
    FROM named
    WHERE blobs.id = named.id
"""


@dataclass(frozen=True, slots=True)
class Naming:
    """The blobs that one operation names, each as often as it names it."""

    tenant: str
    blob_ids: Sequence[UUID]


async def mark_all_used(
    connection: asyncpg.Connection, namings: Sequence[Naming]
) -> list[frozenset[UUID]]:
    """Count one use of a blob for each time it is named; one in use is not removed.

    Return for each operation those that don't exist in its tenant. If there are any, nothing
    was counted for it, and the caller refuses it; each stands or falls alone.
    """
    missing: list[set[UUID]] = [set() for _ in namings]
    columns = [
        (number, naming.tenant, blob_id)
        for number, naming in enumerate(namings)
        for blob_id in naming.blob_ids
    ]
    if columns:
        for row in await connection.fetch(_MARK, *map(list, zip(*columns, strict=True))):
            missing[row["number"]].add(row["blob_id"])
    return [frozenset(each) for each in missing]


async def forget(connection: asyncpg.Connection, blob_ids: Collection[UUID]) -> None:
    """Take back one use of a blob for each time it is named; one without any is removed soon.

    Name a blob exactly as often as it was marked; more raises
    `asyncpg.CheckViolationError`.
    """
    if blob_ids:
        await connection.execute(_FORGET, list(blob_ids))
