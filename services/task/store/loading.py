"""What the engine reads before it changes: rows by their keys, locked, on its own connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.task.domain.limits import Limit
from services.task.domain.policy import DependencyCondition, LimitStrategy
from services.task.domain.task import Task
from services.task.store.rows import (
    COMMON,
    ENDED,
    GIVEN,
    LIVE,
    add_given,
    finished_task_of,
    live_task_of,
)
from services.task.store.writing import Connection

_LIVE: Final = ", ".join(f"tasks.{name}" for name in (*COMMON, *LIVE))
_FINISHED: Final = ", ".join((*COMMON, *ENDED))

# The ids are given in order, so that two replicas lock the same rows in the same order.
_LOCK: Final = f"SELECT {_LIVE} FROM tasks WHERE id = ANY($1::uuid[]) FOR UPDATE"  # noqa: S608
_FIND_FINISHED: Final = f"SELECT {_FINISHED} FROM finished_tasks WHERE id = ANY($1::uuid[])"  # noqa: S608

_DUE: Final = f"""
    SELECT {_LIVE} FROM tasks WHERE due_time <= $1
    ORDER BY due_time LIMIT $2 FOR UPDATE SKIP LOCKED
"""  # noqa: S608

_DEPENDENTS: Final = """
    SELECT depends_on, task_id, condition FROM task_dependencies
    WHERE depends_on = ANY($1::uuid[])
"""

_DESCENDANTS: Final = """
    WITH RECURSIVE tree (id, live) AS (
        SELECT unnest($1::uuid[]), false
        UNION ALL
        SELECT below.id, below.live FROM tree CROSS JOIN LATERAL (
            SELECT tasks.id, true AS live FROM tasks WHERE tasks.parent_id = tree.id
            UNION ALL
            SELECT finished_tasks.id, false FROM finished_tasks
            WHERE finished_tasks.parent_id = tree.id
        ) AS below
    )
    SELECT id FROM tree WHERE live LIMIT $2
"""

_LIMITS: Final = """
    SELECT tenant, key, places, strategy, taken, members, units, period, full_time, waiting,
        next_units, paused_until, turn
    FROM limits WHERE (tenant, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    ORDER BY tenant, key FOR UPDATE
"""

_DUE_LIMITS: Final = """
    SELECT tenant, key FROM limits WHERE due_time <= $1 ORDER BY due_time LIMIT $2
"""

_WAITING_IN_ORDER: Final = f"""
    SELECT {_LIVE} FROM tasks WHERE tenant = $1 AND blocked_by = $2
    ORDER BY priority DESC, id LIMIT $3 FOR UPDATE SKIP LOCKED
"""  # noqa: S608


def _of_lane(lane: str) -> str:
    """Say that a task is of a lane, so that only an index by lane and id will do.

    Where most tasks are of one lane, `lane = x ORDER BY id` walks the primary key instead, past
    all of them if the lane that is wanted is another.
    """
    return (
        f"(tasks.lane, tasks.id) > ({lane}, '00000000-0000-0000-0000-000000000000'::uuid)"
        f" AND (tasks.lane, tasks.id) <= ({lane}, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)"
    )


# From each lane that waits on to the next, one index entry a lane; then the first of each
# fairness key, the second of each, and so on, beginning after the key whose turn it was.
_WAITING_IN_TURN: Final = f"""
    WITH RECURSIVE behind (lane) AS (
        (SELECT lane FROM tasks WHERE tenant = $1 AND blocked_by = $2 ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT tasks.lane FROM tasks
                WHERE tenant = $1 AND blocked_by = $2 AND tasks.lane > behind.lane
                ORDER BY tasks.lane LIMIT 1)
        FROM behind WHERE behind.lane IS NOT NULL
    ), turn AS (
        SELECT (SELECT fairness_key FROM lanes WHERE id = $4) AS fairness_key
    ), waiting AS (
        SELECT first.id, lanes.fairness_key,
            row_number() OVER (PARTITION BY lanes.fairness_key ORDER BY first.id) AS place
        FROM (SELECT lane FROM behind WHERE lane IS NOT NULL LIMIT 1000) AS lane
        JOIN lanes ON lanes.id = lane.lane
        CROSS JOIN LATERAL (
            SELECT id FROM tasks
            WHERE tenant = $1 AND blocked_by = $2 AND {_of_lane("lane.lane")}
            ORDER BY tasks.lane, id LIMIT $3
        ) AS first
    ), next AS (
        SELECT waiting.id, row_number() OVER (
            ORDER BY place, coalesce(waiting.fairness_key <= turn.fairness_key, false),
                waiting.fairness_key
        ) AS rank
        FROM waiting CROSS JOIN turn ORDER BY rank LIMIT $3
    )
    SELECT {_LIVE} FROM next JOIN tasks ON tasks.id = next.id
    ORDER BY next.rank FOR UPDATE OF tasks SKIP LOCKED
"""  # noqa: S608

_OLDEST_MEMBERS: Final = """
    SELECT task_id FROM limit_members WHERE tenant = $1 AND key = $2 ORDER BY task_id LIMIT $3
"""


async def lock_tasks(connection: Connection, ids: Collection[UUID]) -> list[Task]:
    """Return those of the tasks that have not ended, locked; without what the caller gave."""
    rows = await connection.fetch(_LOCK, sorted(ids))
    return [live_task_of(row) for row in rows]


_LOCK_VERSIONS: Final = "SELECT id, xmin FROM tasks WHERE id = ANY($1::uuid[]) FOR UPDATE"


async def lock_versions(connection: Connection, ids: Collection[UUID]) -> list[tuple[UUID, int]]:
    """Lock those of the tasks that have not ended; return which transaction wrote each."""
    return [(id_, xid) for id_, xid in await connection.fetch(_LOCK_VERSIONS, sorted(ids))]


async def find_finished(connection: Connection, ids: Collection[UUID]) -> list[Task]:
    """Return those of the tasks that have ended; without what the caller gave."""
    rows = await connection.fetch(_FIND_FINISHED, list(ids))
    return [finished_task_of(row) for row in rows]


async def lock_due(connection: Connection, now: datetime, most: int) -> list[Task]:
    """Return tasks that are to be looked at now, locked; those that others look at are skipped."""
    return [live_task_of(row) for row in await connection.fetch(_DUE, now, most)]


async def find_dependents(
    connection: Connection, ids: Collection[UUID]
) -> list[tuple[UUID, UUID, DependencyCondition]]:
    """Return who waits for which of these tasks, and how it must end."""
    rows = await connection.fetch(_DEPENDENTS, list(ids))
    return [
        (row["depends_on"], row["task_id"], DependencyCondition(row["condition"])) for row in rows
    ]


async def find_descendants(connection: Connection, ids: Collection[UUID], most: int) -> list[UUID]:
    """Return the unfinished tasks below these, at every depth, below finished ones too."""
    return [row["id"] for row in await connection.fetch(_DESCENDANTS, list(ids), most)]


async def lock_limits(connection: Connection, keys: Collection[tuple[str, str]]) -> list[Limit]:
    """Return the limits of these tenants and keys, locked; of those that are known."""
    tenants, names = zip(*sorted(keys), strict=True)
    rows = await connection.fetch(_LIMITS, list(tenants), list(names))
    return [_limit(row) for row in rows]


async def due_limits(connection: Connection, now: datetime, most: int) -> list[tuple[str, str]]:
    """Return tenant and key of limits at which the waiting may go on by now."""
    return [(row["tenant"], row["key"]) for row in await connection.fetch(_DUE_LIMITS, now, most)]


async def lock_waiting(connection: Connection, limit: Limit, most: int) -> list[Task]:
    """Return the tasks that come next behind a limit, locked."""
    arguments: list[Any] = [limit.tenant, limit.key, most]
    query = _WAITING_IN_ORDER
    if limit.strategy is LimitStrategy.ROUND_ROBIN:
        query = _WAITING_IN_TURN
        arguments.append(limit.turn)
    return [live_task_of(row) for row in await connection.fetch(query, *arguments)]


async def oldest_members(connection: Connection, limit: Limit, most: int) -> list[UUID]:
    """Return the oldest unfinished tasks that name a limit."""
    rows = await connection.fetch(_OLDEST_MEMBERS, limit.tenant, limit.key, most)
    return [row["task_id"] for row in rows]


def _claim_of(columns: str) -> str:
    return f"""
        SELECT queued.* FROM unnest($1::bigint[], $2::integer[]) AS wanted (lane, count)
        CROSS JOIN LATERAL (
            SELECT {columns} FROM tasks
            WHERE {_of_lane("wanted.lane")} AND state = 'queued' AND blocked_by IS NULL
            ORDER BY lane, id LIMIT wanted.count
            FOR UPDATE SKIP LOCKED
        ) AS queued
    """  # noqa: S608


_WHOLE: Final = ", ".join((*COMMON, *LIVE, *GIVEN))
_CLAIM: Final = _claim_of(_WHOLE)
_CLAIM_VERSIONS: Final = _claim_of("id, xmin AS xid")
_READ: Final = f"SELECT {_WHOLE} FROM tasks WHERE id = ANY($1::uuid[])"  # noqa: S608


async def claim(connection: Connection, wanted: Sequence[tuple[int, int]]) -> list[Task]:
    """Return the first tasks of lanes, locked, with what the caller gave.

    `wanted` names lanes, and how many of each.
    """
    lanes, counts = zip(*wanted, strict=True)
    rows = await connection.fetch(_CLAIM, list(lanes), list(counts))
    return [add_given(live_task_of(row), row) for row in rows]


async def claim_versions(
    connection: Connection, wanted: Sequence[tuple[int, int]]
) -> list[tuple[UUID, int]]:
    """Lock the first tasks of lanes, as `claim` does; return which transaction wrote each."""
    lanes, counts = zip(*wanted, strict=True)
    rows = await connection.fetch(_CLAIM_VERSIONS, list(lanes), list(counts))
    return [(id_, xid) for id_, xid in rows]


async def read_locked(connection: Connection, ids: Collection[UUID]) -> list[Task]:
    """Return tasks that this transaction has locked, with what their callers gave."""
    rows = await connection.fetch(_READ, list(ids))
    return [add_given(live_task_of(row), row) for row in rows]


_GIVEN: Final = f"SELECT id, {', '.join(GIVEN)} FROM tasks WHERE id = ANY($1::uuid[])"  # noqa: S608


async def add_what_was_given(connection: Connection, tasks: Mapping[UUID, Task]) -> None:
    """Add to these tasks, by their ids, what their callers gave."""
    for row in await connection.fetch(_GIVEN, list(tasks)):
        add_given(tasks[row["id"]], row)


_MOST_RESULTS: Final = 1 << 20

_RESULTS: Final = f"""
    SELECT task_id, id, result FROM (
        SELECT task_dependencies.task_id, finished_tasks.id, finished_tasks.result,
            sum(octet_length(finished_tasks.result)) OVER (
                PARTITION BY task_dependencies.task_id
                ORDER BY octet_length(finished_tasks.result), finished_tasks.id
            ) AS bytes
        FROM task_dependencies
        JOIN finished_tasks ON finished_tasks.id = task_dependencies.depends_on
        WHERE task_dependencies.task_id = ANY($1::uuid[]) AND finished_tasks.result IS NOT NULL
    ) AS sized
    WHERE bytes <= {_MOST_RESULTS}
"""  # noqa: S608 - the bound is above


async def dependency_results(
    connection: Connection, ids: Collection[UUID]
) -> dict[UUID, dict[UUID, bytes]]:
    """Return for each of the tasks the results of those it depends on, the largest left out."""
    results: dict[UUID, dict[UUID, bytes]] = {}
    for row in await connection.fetch(_RESULTS, list(ids)):
        results.setdefault(row["task_id"], {})[row["id"]] = row["result"]
    return results


def _limit(row: Any) -> Limit:
    return Limit(
        tenant=row["tenant"],
        key=row["key"],
        places=row["places"],
        strategy=LimitStrategy(row["strategy"]),
        taken=row["taken"],
        members=row["members"],
        units=row["units"],
        period=row["period"],
        full_time=row["full_time"],
        waiting=row["waiting"],
        next_units=row["next_units"],
        paused_until=row["paused_until"],
        turn=row["turn"],
    )
