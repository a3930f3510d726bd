"""Who is connected, to which replica, and what each holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.connection import Connection

_COLUMNS: Final = (
    "id, agent_id, agent_name, process_id, capabilities, slots, held, build_id, sdk, connect_time,"
    " last_seen_time, task_ids"
)

# A replica that was not heard of for so long is gone, and its connections with it. Each tells that
# it lives three times as often.
_LIVES: Final = "told_time > clock_timestamp() - interval '30 s'"
_OF_THE_LIVING: Final = f"replica IN (SELECT id FROM replicas WHERE {_LIVES})"

# ruff: noqa: S608 - every statement is made of the columns above
# Lists travel as text, since an array of arrays would have to be as wide in each row.
_PUT: Final = text(
    f"""
    INSERT INTO connections (tenant, replica, {_COLUMNS})
    SELECT tenant, :replica, id, agent_id, agent_name, process_id,
        string_to_array(capabilities, ','), slots, held, build_id, sdk, connect_time,
        clock_timestamp() - silent * interval '1 s', string_to_array(task_ids, ',')::uuid[]
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tenants AS text[]), CAST(:agent_ids AS uuid[]),
        CAST(:agent_names AS text[]), CAST(:process_ids AS text[]), CAST(:capabilities AS text[]),
        CAST(:slots AS integer[]), CAST(:held AS integer[]), CAST(:build_ids AS text[]),
        CAST(:sdks AS text[]), CAST(:connect_times AS timestamptz[]),
        CAST(:silent AS double precision[]), CAST(:task_ids AS text[]))
        AS given (id, tenant, agent_id, agent_name, process_id, capabilities, slots, held,
            build_id, sdk, connect_time, silent, task_ids)
    ON CONFLICT (id) DO UPDATE
    SET slots = excluded.slots, held = excluded.held, last_seen_time = excluded.last_seen_time,
        task_ids = excluded.task_ids
    """
)
# A row that was not there has no version before.
_LIVE: Final = text(
    """
    INSERT INTO replicas VALUES (:replica, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET told_time = excluded.told_time RETURNING xmax = 0
    """
)
_DELETE: Final = text("DELETE FROM connections WHERE id = ANY(:ids)")
_DELETE_REPLICA: Final = text("DELETE FROM replicas WHERE id = :replica")
_DELETE_DEAD: Final = text(f"DELETE FROM replicas WHERE NOT {_LIVES}")
_DELETE_LEFT: Final = text(
    "DELETE FROM connections WHERE NOT EXISTS (SELECT FROM replicas WHERE id = replica)"
)
_LIST: Final = text(
    f"""
    SELECT tenant, {_COLUMNS} FROM connections WHERE tenant = :tenant AND {_OF_THE_LIVING}
    ORDER BY agent_name COLLATE "C", connect_time, id LIMIT :most
    """
)


async def live(connection: AsyncConnection, replica: UUID) -> bool:
    """Note that a replica lives; tell whether the others did not know, or had forgotten it."""
    return bool((await connection.execute(_LIVE, {"replica": replica})).scalar_one())


async def put_connections(
    connection: AsyncConnection, replica: UUID, known: Sequence[tuple[Connection, float]]
) -> None:
    """Store connections, each with the seconds since it was last heard of."""
    each = [one for one, _ in known]
    values = {
        "replica": replica,
        "ids": [one.id for one in each],
        "tenants": [one.tenant for one in each],
        "agent_ids": [one.agent_id for one in each],
        "agent_names": [one.agent_name for one in each],
        "process_ids": [one.process_id for one in each],
        "capabilities": [",".join(one.capabilities) for one in each],
        "slots": [one.slots for one in each],
        "held": [one.held for one in each],
        "build_ids": [one.build_id for one in each],
        "sdks": [one.sdk for one in each],
        "connect_times": [one.connect_time for one in each],
        "silent": [silent for _, silent in known],
        "task_ids": [",".join(map(str, one.task_ids)) for one in each],
    }
    await connection.execute(_PUT, values)


async def delete_connections(connection: AsyncConnection, ids: Collection[UUID]) -> None:
    """Forget connections that were closed."""
    await connection.execute(_DELETE, {"ids": list(ids)})


async def delete_replica(connection: AsyncConnection, replica: UUID) -> None:
    """Forget a replica and all its connections."""
    await connection.execute(_DELETE_REPLICA, {"replica": replica})
    await connection.execute(_DELETE_LEFT)


async def delete_gone(connection: AsyncConnection) -> None:
    """Forget the replicas that were not heard of for long, and their connections."""
    await connection.execute(_DELETE_DEAD)
    await connection.execute(_DELETE_LEFT)


async def list_connections(connection: AsyncConnection, tenant: str, most: int) -> list[Connection]:
    """Return the connections of a tenant to all replicas, by agent name."""
    rows = await connection.execute(_LIST, {"tenant": tenant, "most": most})
    return [_connection(row) for row in rows]


def _connection(row: Any) -> Connection:
    return Connection(
        id=row.id,
        tenant=row.tenant,
        agent_id=row.agent_id,
        agent_name=row.agent_name,
        process_id=row.process_id,
        capabilities=tuple(row.capabilities),
        slots=row.slots,
        held=row.held,
        build_id=row.build_id,
        sdk=row.sdk,
        connect_time=row.connect_time,
        last_seen_time=row.last_seen_time,
        task_ids=tuple(row.task_ids),
    )
