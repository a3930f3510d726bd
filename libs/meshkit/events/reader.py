"""The far end of the outbox: reads events in order, and takes away those that are dealt with.

Why the order of positions is the order per key. A transaction appends an event
after it has written or locked the row that the event's key names, so of two that
append for one key the second draws its position after the first has committed, and
whoever sees the second's event sees the first's. Within a key, positions follow
commits, and no event of the key below one that is seen is still to come. Across
keys they don't: a transaction may commit late, below what was already read.

Why nothing is lost that commits late. Events are a queue and not a log: rows are
taken away by their own positions, so one that comes late is simply there at the
next read.

Why reading stays cheap. The rows taken away leave dead index entries at the head
of the queue, so reads begin above a floor, which must never pass a row that is
still to come: it would be lost, and a later one of its key would overtake it. Each
removal has a transaction id, drawn after every id of a transaction that had a
position at or below those removed, since `append` draws its id first. Once no
transaction at or before that id is running, nothing can appear any more at or below
those positions, and the floor may rise to them, though not over rows that are still
there. No row need carry its transaction's id for that, and no event waits for a
transaction that is none of its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import asyncpg

from meshkit.events.outbox import Event

_LONGEST_FAILURE = 2000

_READ: Final = """
    SELECT position, id, type, tenant, key, payload,
        (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint) AS oldest_running
    FROM outbox
    WHERE position > $1
    ORDER BY position
    LIMIT $2
"""
# By position, one by one: a range would take away rows that appeared in it since the read.
_REMOVE: Final = """
    WITH removed AS (DELETE FROM outbox WHERE position = ANY($1::bigint[]))
    SELECT pg_current_xact_id()::text::bigint
"""
_BURY: Final = """
    WITH removed AS (DELETE FROM outbox WHERE position = $1 RETURNING *)
    INSERT INTO outbox_dead (position, id, type, tenant, key, payload, create_time, failure)
    SELECT position, id, type, tenant, key, payload, create_time, $2 FROM removed
"""

SESSION: Final = {
    # What a crash of the database undoes is published again, which it may be anyway.
    "synchronous_commit": "off",
    # The table's statistics are those of an empty one or of a full one, never right for long.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
}
"""Settings of a session for a reader."""


class Entry(NamedTuple):
    """An event and its place in the outbox."""

    position: int
    event: Event


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the floor may rise to once no transaction up to `xid` is running."""

    position: int
    xid: int


class Reader:
    """Reads a database's outbox; for one reader at a time, on a connection in autocommit."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._floor = 0
        self._mark: _Mark | None = None

    async def read(self, most: int) -> list[Entry]:
        """Return up to `most` events that are there, in order; they stay there."""
        rows = await self._connection.fetch(_READ, self._floor, most)
        if rows and self._mark is not None and rows[0]["oldest_running"] > self._mark.xid:
            self._floor = min(self._mark.position, rows[0]["position"] - 1)
            self._mark = None
        return [
            Entry(position, Event(id_, type_, tenant, key, payload))
            for position, id_, type_, tenant, key, payload, _ in rows
        ]

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Forget events that are published; they are in the order in which they were read."""
        positions = [entry.position for entry in entries]
        xid: int = await self._connection.fetchval(_REMOVE, positions)
        if self._mark is None:
            self._mark = _Mark(positions[-1], xid)

    async def bury(self, entry: Entry, failure: str) -> None:
        """Move an event that can't be published to `outbox_dead`."""
        # PostgreSQL stores no NUL.
        told = failure.replace("\0", "�")[:_LONGEST_FAILURE]
        await self._connection.execute(_BURY, entry.position, told)

    def look_back(self) -> None:
        """Have the next read begin at the very first row.

        For rows that something else than `append` wrote and that are below the floor.
        """
        self._floor = 0
        self._mark = None
