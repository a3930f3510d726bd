"""How much waits and runs in each queue: bounded walks of indexes, however much there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

EXACT_TO: Final = 10_000
"""More tasks of a kind in a queue than this are not counted."""

_MOST_LANES: Final = 20_000
_MOST_RUNNING: Final = 200_000


@dataclass(frozen=True, slots=True)
class Queue:
    """The tasks of one capability that have not ended; each count is exact to EXACT_TO."""

    capability: str
    queued: int
    running: int
    scheduled: int
    oldest_create_time: datetime | None


# The planner may take the whole table, or all of an index, for shorter than a walk to the bound
# while most tasks are in one lane.
BY_INDEX: Final = text(
    """
    SELECT set_config(name, 'off', true) FROM unnest(ARRAY[
        'enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'jit'
    ]) AS settings (name)
    """
)

_READY: Final = "state = 'queued' AND blocked_by IS NULL"
_BLOCKED: Final = "state = 'queued' AND blocked_by IS NOT NULL"
_SCHEDULED: Final = "state = 'scheduled'"
_ASIDE: Final = "(state = 'scheduled' OR blocked_by IS NOT NULL)"


# ruff: noqa: S608 - every statement is made of what stands here
def _holding(name: str, kind: str) -> str:
    return f"""{name} (lane) AS (
        (SELECT lane FROM tasks WHERE {kind} ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT tasks.lane FROM tasks WHERE {kind} AND tasks.lane > {name}.lane
                ORDER BY tasks.lane LIMIT 1)
        FROM {name} WHERE {name}.lane IS NOT NULL
    )"""


def _of_lane(kind: str) -> str:
    # An order that only the indexes by lane have. With `lane = of.lane` the planner takes any
    # index and throws away what is of other lanes, however much that is.
    return f"""WHERE tasks.lane >= of.lane AND tasks.lane <= of.lane AND {kind}
                ORDER BY tasks.lane, tasks.id"""


def _counted(name: str, kind: str) -> str:
    return f"""CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM unnest(queues.lanes) AS of (lane) CROSS JOIN LATERAL (
                SELECT FROM tasks {_of_lane(kind)} LIMIT {EXACT_TO}
            ) AS found LIMIT {EXACT_TO}
        ) AS counted
    ) AS {name}"""


def _first(name: str, kind: str) -> str:
    return f"""LEFT JOIN LATERAL (
        SELECT found.id FROM unnest(queues.lanes) AS of (lane) CROSS JOIN LATERAL (
            SELECT id FROM tasks {_of_lane(kind)} LIMIT 1
        ) AS found ORDER BY found.id LIMIT 1
    ) AS {name} ON true"""


# Loose scans: from each lane that holds tasks on to the next, one index entry a lane, however
# many tasks the lanes hold. Of each capability's lanes no more tasks are read than are counted.
WAITING: Final = text(
    f"""
    WITH RECURSIVE {_holding("open_lane", _READY)}, {_holding("aside", _ASIDE)}, held AS (
        (SELECT lane FROM open_lane WHERE lane IS NOT NULL LIMIT {_MOST_LANES})
        UNION
        (SELECT lane FROM aside WHERE lane IS NOT NULL LIMIT {_MOST_LANES})
    ), queues AS (
        SELECT lanes.capability, array_agg(lanes.id) AS lanes
        FROM held JOIN lanes ON lanes.id = held.lane
        WHERE lanes.tenant = :tenant GROUP BY lanes.capability
    )
    SELECT queues.capability, scheduled.count AS scheduled,
        least(ready.count + blocked.count, {EXACT_TO}) AS queued,
        (SELECT create_time FROM tasks WHERE id = least(ready_first.id, blocked_first.id))
            AS oldest_create_time
    FROM queues
    {_counted("ready", _READY)}
    {_counted("blocked", _BLOCKED)}
    {_counted("scheduled", _SCHEDULED)}
    {_first("ready_first", _READY)}
    {_first("blocked_first", _BLOCKED)}
    """
)

RUNNING: Final = text(
    f"""
    SELECT capability, count(*) AS running FROM (
        SELECT capability FROM tasks WHERE tenant = :tenant AND state = 'running'
        LIMIT {_MOST_RUNNING}
    ) AS running GROUP BY capability
    """
)


async def list_queues(connection: AsyncConnection, tenant: str) -> list[Queue]:
    """Return the queues of a tenant in which something waits or runs, by capability."""
    await connection.execute(BY_INDEX)
    rows = await connection.execute(WAITING, {"tenant": tenant})
    waiting = {row.capability: row for row in rows}
    rows = await connection.execute(RUNNING, {"tenant": tenant})
    running: dict[str, int] = {row.capability: row.running for row in rows}
    return [
        _queue(capability, waiting.get(capability), running.get(capability, 0))
        for capability in sorted(waiting.keys() | running.keys())
    ]


def _queue(capability: str, waiting: Any, running: int) -> Queue:
    running = min(running, EXACT_TO)
    if waiting is None:
        return Queue(capability, 0, running, 0, None)
    return Queue(capability, waiting.queued, running, waiting.scheduled, waiting.oldest_create_time)
