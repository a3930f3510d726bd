"""The log of all tasks' changes, read in the order of its positions.

A transaction takes its positions before it commits, so one that commits late leaves
a gap that is filled only then. What is read across a gap is final once all have
ended that were writing to the log at the time: whoever takes a position holds the
table's lock for writers, from before that until it can be seen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from services.task.domain.task import Task, TaskEvent
from services.task.store.planning import pin_plans
from services.task.store.rows import COMMON, EVENT, LIVE, event_of, listed_task_of

_EVENT: Final = ", ".join(("position", *EVENT))
_MOST: Final = 1000
_MOST_BYTES: Final = 4 << 20
_MOST_OF_TREE: Final = 64

# ruff: noqa: S608 - the names are the tables' own
_READ: Final = text(
    f"""
    WITH log AS MATERIALIZED (
        SELECT {_EVENT} FROM task_events
        WHERE position > :after AND position <= :upto ORDER BY position LIMIT :most
    ), sized AS (
        SELECT *, sum(coalesce(octet_length(data), 0)) OVER (ORDER BY position)
            - coalesce(octet_length(data), 0) AS bytes_before
        FROM log
    ), kept AS MATERIALIZED (
        SELECT * FROM sized WHERE bytes_before < :most_bytes
    ), edge AS (
        SELECT count(*) AS count, max(position) AS last FROM kept
    )
    SELECT edge.count, edge.last, kept.* FROM edge
    LEFT JOIN kept ON kept.tenant = ANY(:tenants)
    ORDER BY kept.position
    """
).bindparams(bindparam("tenants", type_=ARRAY(Text)))

# The last ones may have been deleted.
_LAST: Final = text("SELECT greatest(max(position), (SELECT floor FROM task_log)) FROM task_events")
_WRITERS: Final = text(
    """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
        AND relation = 'task_events'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)
_COUNT: Final = text(
    "SELECT count(*) FROM task_events WHERE position > :after AND position <= :upto"
)
_FLOOR: Final = text("SELECT floor FROM task_log")

# Written so that no other index seems to do: the root's events by their task, the others by their
# root. The index of all positions would be walked through what belongs to other tasks.
_TREE: Final = text(
    f"""
    SELECT * FROM (
        (SELECT {_EVENT} FROM task_events
         WHERE task_id = :root AND sequence > :sequence
            AND position + 0 > :after AND position + 0 <= :upto
         ORDER BY sequence LIMIT :most)
        UNION ALL
        (SELECT {_EVENT} FROM task_events
         WHERE root_id IS NOT NULL
            AND (root_id, position) > (:root, :after) AND (root_id, position) <= (:root, :upto)
         ORDER BY root_id, position LIMIT :most)
    ) AS tree ORDER BY position LIMIT :most
    """
)
_TREE_LIVES: Final = text(
    """
    SELECT EXISTS (SELECT FROM tasks WHERE id = :root)
        OR EXISTS (SELECT FROM tasks WHERE root_id = :root)
    """
)

_SHARED: Final = ", ".join((*COMMON, "labels", "attributes"))
# What may be large, and an event itself tells.
_LEFT_OUT: Final = ("checkpoint", "answer", "pause")
_LIVE: Final = ", ".join(f"NULL AS {name}" if name in _LEFT_OUT else name for name in LIVE)
_LIVE_TASKS: Final = text(
    f"SELECT {_SHARED}, {_LIVE}, NULL AS end_time FROM tasks WHERE id = ANY(:ids)"
)
_ENDED_TASKS: Final = text(
    f"SELECT {_SHARED}, end_time, NULL AS result, NULL AS result_payload"
    " FROM finished_tasks WHERE id = ANY(:ids)"
)


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of the log.

    Attributes:
        events: Those of the tenants that were asked for.
        last: Position of its last event, of any tenant; None if there is none.
        is_whole: Whether no position is missing.
    """

    events: Sequence[TaskEvent]
    last: int | None
    is_whole: bool


async def read_log(
    connection: AsyncConnection, tenants: Collection[str], *, after: int, upto: int
) -> LogPart:
    """Return the events after a position, a bounded number at a time, and of a bounded size."""
    await pin_plans(connection)
    parameters = {
        "after": after,
        "upto": upto,
        "tenants": sorted(tenants),
        "most": _MOST,
        "most_bytes": _MOST_BYTES,
    }
    rows = (await connection.execute(_READ, parameters)).mappings().all()
    events = [event_of(row) for row in rows if row["position"] is not None]
    count, last = rows[0]["count"], rows[0]["last"]
    return LogPart(events, last, is_whole=last is None or last - after == count)


async def last_position(connection: AsyncConnection) -> int:
    """Return the last position that can be seen, or could before it was deleted."""
    return int((await connection.execute(_LAST)).scalar_one())


async def writers(connection: AsyncConnection) -> set[str]:
    """Return the transactions that are writing to the log."""
    return set((await connection.execute(_WRITERS)).scalars())


async def is_whole(connection: AsyncConnection, *, after: int, upto: int) -> bool:
    """Tell whether no position is missing between these."""
    await pin_plans(connection)
    counted = await connection.execute(_COUNT, {"after": after, "upto": upto})
    return bool(counted.scalar_one() == upto - after)


async def floor_of_log(connection: AsyncConnection) -> int:
    """Return the position up to which events may have been deleted."""
    return int((await connection.execute(_FLOOR)).scalar_one())


async def read_tree(
    connection: AsyncConnection, root: UUID, *, sequence: int, after: int, upto: int
) -> list[TaskEvent]:
    """Return events of a root and all under it, after a position, a bounded number at a time.

    `sequence` is that of the last event of the root itself that need not be looked at.
    """
    await pin_plans(connection)
    parameters = {"root": root, "sequence": sequence, "after": after, "upto": upto}
    rows = await connection.execute(_TREE, {**parameters, "most": _MOST_OF_TREE})
    return [event_of(row) for row in rows.mappings()]


async def tree_lives(connection: AsyncConnection, root: UUID) -> bool:
    """Tell whether a root or any task under it has not ended."""
    await pin_plans(connection)
    return bool((await connection.execute(_TREE_LIVES, {"root": root})).scalar_one())


async def tasks_of(connection: AsyncConnection, events: Sequence[TaskEvent]) -> dict[UUID, Task]:
    """Return the tasks of events as they are now, without inputs and results."""
    ids = list({event.task_id for event in events})
    if not ids:
        return {}
    # A task moves one way only, so it is not missed if the finished ones are asked last.
    rows = (await connection.execute(_LIVE_TASKS, {"ids": ids})).mappings()
    tasks = {row["id"]: listed_task_of(row) for row in rows}
    missing = [task_id for task_id in ids if task_id not in tasks]
    if missing:
        rows = (await connection.execute(_ENDED_TASKS, {"ids": missing})).mappings()
        tasks.update({row["id"]: listed_task_of(row) for row in rows})
    return tasks
