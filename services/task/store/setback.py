"""What a clock that has been set back leaves in the future, though it is over or near."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A time that lies ahead of now, and is the time of something that has happened, was told by the
# clock before it was set back. What has been brought near is looked at, and gets a time anew.
_AHEAD: Final = "now.time + interval '1 second'"

# An agent that lives has renewed its lease since.
_RUNNING: Final = text(
    f"""
    WITH now AS MATERIALIZED (SELECT clock_timestamp() AS time)
    UPDATE tasks SET
        lease_time = CASE
            WHEN lease_time > now.time + 2 * :lease * interval '1 second' THEN now.time
            ELSE lease_time
        END,
        start_time = CASE WHEN start_time > now.time THEN now.time ELSE start_time END,
        seen_time = CASE WHEN seen_time > now.time THEN now.time ELSE seen_time END,
        cancel_by = CASE
            WHEN cancel_request_time > now.time
            THEN now.time + (cancel_by - cancel_request_time)
            ELSE cancel_by
        END,
        cancel_request_time = CASE
            WHEN cancel_request_time > now.time THEN now.time
            ELSE cancel_request_time
        END,
        due_time = now.time
    FROM now
    WHERE state = 'running' AND (
        lease_time > now.time + 2 * :lease * interval '1 second'
        OR greatest(start_time, seen_time, cancel_request_time) > {_AHEAD}
    )
    """  # noqa: S608 - the text above
)

# Of those that have never started nobody can tell whether their time was meant as an hour of the
# day, before which they must not start, or as a wait.
_RETRIED: Final = text(
    f"""
    WITH now AS MATERIALIZED (SELECT clock_timestamp() AS time)
    UPDATE tasks SET
        ready_time = now.time + (ready_time - start_time),
        start_time = now.time,
        due_time = now.time
    FROM now
    WHERE state = 'scheduled' AND attempt > 0 AND start_time > {_AHEAD}
    """  # noqa: S608 - the text above
)

_BUCKETS: Final = text(
    f"""
    WITH now AS MATERIALIZED (SELECT clock_timestamp() AS time)
    UPDATE limits SET
        full_time = now.time + period * interval '1 second',
        due_time = now.time
    FROM now
    WHERE full_time > {_AHEAD} + period * interval '1 second'
    """  # noqa: S608 - the text above
)


async def bring_near(connection: AsyncConnection, lease: float) -> int:
    """Bring times near that lie further off than they can; return how many things had some.

    To be called a lease's length, in seconds, after the clock was set back. Harmless if
    it is called again, or on several replicas.
    """
    changed = 0
    for statement, values in ((_RUNNING, {"lease": lease}), (_RETRIED, {}), (_BUCKETS, {})):
        result: Any = await connection.execute(statement, values)
        changed += result.rowcount
    return changed
