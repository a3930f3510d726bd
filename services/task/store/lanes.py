"""Lanes in the database: which there are, and which of them hold tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import BigInteger, SmallInteger, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.lanes import Lane, LaneKey
from services.task.domain.policy import placement_from_text, placement_to_text
from services.task.store.planning import pin_plans

_COLUMNS = "id, tenant, capability, priority, placement, fairness_key, bucket, weight"

_FIND_OR_ADD: Final = text(
    f"""
    INSERT INTO lanes (tenant, capability, priority, placement, fairness_key, bucket, weight)
    VALUES (:tenant, :capability, :priority, :placement, :fairness_key, :bucket, :weight)
    ON CONFLICT (tenant, capability, priority, md5(placement), fairness_key, bucket)
    DO UPDATE SET weight = excluded.weight, use_time = now()
    RETURNING {_COLUMNS}
    """  # noqa: S608 - the names are the table's own
)

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


_IDS: Final = bindparam("ids", type_=ARRAY(BigInteger))

_IDLE: Final = text(
    """
    SELECT id, tenant, priority FROM lanes
    WHERE use_time <= now() - make_interval(secs => :keep)
    ORDER BY use_time LIMIT :most FOR UPDATE SKIP LOCKED
    """
)

# In one statement, lest a task be in another state each time it is looked for. Those that run or
# are paused no index has by lane; they are looked for once for all lanes of a tenant and priority.
# The orders are those of the indexes that are to be used.
_HELD: Final = text(
    """
    SELECT open.lane FROM unnest(:ids) AS given (id) CROSS JOIN LATERAL (
        SELECT lane FROM tasks
        WHERE lane >= given.id AND lane <= given.id AND state = 'queued' AND blocked_by IS NULL
        ORDER BY lane, id LIMIT 1
    ) AS open
    UNION
    SELECT aside.lane FROM unnest(:ids) AS given (id) CROSS JOIN LATERAL (
        SELECT lane FROM tasks
        WHERE lane >= given.id AND lane <= given.id
            AND (state = 'scheduled' OR blocked_by IS NOT NULL)
        ORDER BY lane, state, id LIMIT 1
    ) AS aside
    UNION
    SELECT leased.lane FROM unnest(:tenants, :priorities) AS place (tenant, priority)
    CROSS JOIN LATERAL (
        SELECT lane FROM tasks
        WHERE tasks.tenant = place.tenant AND tasks.state IN ('running', 'paused')
            AND tasks.priority = place.priority
    ) AS leased
    """
).bindparams(
    _IDS,
    bindparam("tenants", type_=ARRAY(Text)),
    bindparam("priorities", type_=ARRAY(SmallInteger)),
)

_KEEP: Final = text("UPDATE lanes SET use_time = now() WHERE id = ANY(:ids)").bindparams(_IDS)
_REMOVE: Final = text("DELETE FROM lanes WHERE id = ANY(:ids)").bindparams(_IDS)


async def find_or_add(connection: AsyncConnection, key: LaneKey, weight: float) -> Lane:
    """Return the lane of a key, made if there is none; its weight is as given, its use is noted."""
    values = {
        "tenant": key.tenant,
        "capability": key.capability,
        "priority": key.priority,
        "placement": placement_to_text(key.placement),
        "fairness_key": key.fairness_key,
        "bucket": key.bucket,
        "weight": weight,
    }
    return _lane((await connection.execute(_FIND_OR_ADD, values)).one())


async def get_lanes(connection: AsyncConnection, ids: Collection[int]) -> list[Lane]:
    """Return the lanes with these ids."""
    return [_lane(row) for row in await connection.execute(_BY_ID, {"ids": list(ids)})]


async def list_holding(connection: AsyncConnection, *, after: int, most: int) -> list[Lane]:
    """Return up to `most` lanes with ids above `after` that hold tasks which nothing blocks."""
    rows = await connection.execute(_HOLDING, {"after": after, "most": most})
    return [_lane(row) for row in rows]


async def remove_idle(connection: AsyncConnection, keep: float, most: int) -> int:
    """Look at up to `most` lanes not found for so many seconds, and return how many there were.

    Those without tasks are removed; the others count as found now. Whoever finds one meanwhile
    waits, and makes it anew.
    """
    await pin_plans(connection)
    idle = (await connection.execute(_IDLE, {"keep": keep, "most": most})).all()
    if not idle:
        return 0
    ids = {row.id for row in idle}
    places = sorted({(row.tenant, row.priority) for row in idle})
    values = {
        "ids": sorted(ids),
        "tenants": [tenant for tenant, _ in places],
        "priorities": [priority for _, priority in places],
    }
    held = ids.intersection((await connection.execute(_HELD, values)).scalars())
    await connection.execute(_KEEP, {"ids": sorted(held)})
    await connection.execute(_REMOVE, {"ids": sorted(ids - held)})
    return len(idle)


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
