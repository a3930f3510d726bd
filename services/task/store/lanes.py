"""Lanes in the database, and which of them hold tasks that an agent could take."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.lanes import Lane, LaneKey
from services.task.domain.policy import placement_from_text, placement_to_text

_COLUMNS = "id, tenant, capability, priority, placement, fairness_key, bucket, weight"

_FIND: Final = text(
    f"""
    SELECT {_COLUMNS} FROM lanes
    WHERE tenant = :tenant AND capability = :capability AND priority = :priority
        AND md5(placement) = md5(:placement) AND fairness_key = :fairness_key
        AND bucket = :bucket
    """  # noqa: S608 - the names are the table's own
)

_INSERT: Final = text(
    """
    INSERT INTO lanes (tenant, capability, priority, placement, fairness_key, bucket, weight)
    VALUES (:tenant, :capability, :priority, :placement, :fairness_key, :bucket, :weight)
    ON CONFLICT DO NOTHING
    """
)

_WEIGH: Final = text("UPDATE lanes SET weight = :weight WHERE id = :id")

_BY_ID: Final = text(f"SELECT {_COLUMNS} FROM lanes WHERE id = ANY(:ids)")  # noqa: S608

# A loose scan: from each lane that holds a task on to the next, one index entry a lane, however
# many tasks the lanes hold.
_HOLDING: Final = text(
    f"""
    WITH RECURSIVE holding (lane) AS (
        (SELECT lane FROM tasks WHERE state = 'queued' AND blocked_by IS NULL AND lane > :after
         ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT tasks.lane FROM tasks
                WHERE state = 'queued' AND blocked_by IS NULL AND tasks.lane > holding.lane
                ORDER BY tasks.lane LIMIT 1)
        FROM holding WHERE holding.lane IS NOT NULL
    )
    SELECT {_COLUMNS} FROM (SELECT lane FROM holding WHERE lane IS NOT NULL LIMIT :most) AS found
    JOIN lanes ON lanes.id = found.lane
    """  # noqa: S608 - the names are the table's own
)


async def find_or_add(connection: AsyncConnection, key: LaneKey, weight: float) -> Lane:
    """Return the lane of a key, made if there is none; its weight is as given."""
    parameters = {
        "tenant": key.tenant,
        "capability": key.capability,
        "priority": key.priority,
        "placement": placement_to_text(key.placement),
        "fairness_key": key.fairness_key,
        "bucket": key.bucket,
    }
    row = (await connection.execute(_FIND, parameters)).one_or_none()
    if row is None:
        await connection.execute(_INSERT, {**parameters, "weight": weight})
        # In a statement of its own, which sees what another replica has added meanwhile.
        row = (await connection.execute(_FIND, parameters)).one()
    lane = _lane(row)
    if lane.weight != weight:
        await connection.execute(_WEIGH, {"id": lane.id, "weight": weight})
    return Lane(lane.id, lane.key, weight)


async def get_lanes(connection: AsyncConnection, ids: Collection[int]) -> list[Lane]:
    """Return the lanes with these ids."""
    return [_lane(row) for row in await connection.execute(_BY_ID, {"ids": list(ids)})]


async def list_holding(connection: AsyncConnection, *, after: int, most: int) -> list[Lane]:
    """Return up to `most` lanes with ids above `after` that hold tasks which nothing blocks."""
    rows = await connection.execute(_HOLDING, {"after": after, "most": most})
    return [_lane(row) for row in rows]


def _lane(row: Any) -> Lane:
    key = LaneKey(
        row.tenant,
        row.capability,
        row.priority,
        placement_from_text(row.placement),
        row.fairness_key,
        row.bucket,
    )
    return Lane(row.id, key, row.weight)
