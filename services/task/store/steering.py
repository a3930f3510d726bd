"""Pauses and build routings in the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.steering import BuildRouting, Pause, PauseKind
from services.task.store.writing import Connection

_PAUSE: Final = "id, tenant, kind, target, until, reason, creator, create_time"
_ROUTING: Final = (
    "tenant, capability, current_build_id, ramping_build_id, ramping_percent, update_time"
)

# ruff: noqa: S608 - every statement is made of the columns above
_PUT: Final = f"""
    INSERT INTO pauses ({_PAUSE})
    SELECT {_PAUSE} FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[],
        $5::timestamptz[], $6::text[], $7::text[], $8::timestamptz[]) AS given ({_PAUSE})
    ON CONFLICT (tenant, kind, target) DO UPDATE
    SET id = excluded.id, until = excluded.until, reason = excluded.reason,
        creator = excluded.creator, create_time = excluded.create_time
"""
_LOCK: Final = f"SELECT {_PAUSE} FROM pauses WHERE id = ANY($1::uuid[]) FOR UPDATE"
_DELETE: Final = "DELETE FROM pauses WHERE id = ANY($1::uuid[])"

_IN_FORCE: Final = text(f"SELECT {_PAUSE}, clock_timestamp() AS now FROM pauses")
_END_LAPSED: Final = text("DELETE FROM pauses WHERE until <= clock_timestamp()")
_LIST: Final = text(
    f"""
    SELECT {_PAUSE} FROM pauses
    WHERE tenant = :tenant AND (until IS NULL OR until > clock_timestamp())
    ORDER BY create_time DESC, id DESC LIMIT :most
    """
)

_ALL_ROUTINGS: Final = text(f"SELECT {_ROUTING} FROM build_routings")
_LIST_ROUTINGS: Final = text(
    f"""
    SELECT {_ROUTING} FROM build_routings
    WHERE tenant = :tenant ORDER BY capability COLLATE "C" LIMIT :most
    """
)
_SET_ROUTING: Final = text(
    f"""
    INSERT INTO build_routings ({_ROUTING})
    VALUES (:tenant, :capability, :current, :ramping, :percent, clock_timestamp())
    ON CONFLICT (tenant, capability) DO UPDATE
    SET current_build_id = excluded.current_build_id,
        ramping_build_id = excluded.ramping_build_id,
        ramping_percent = excluded.ramping_percent, update_time = excluded.update_time
    RETURNING {_ROUTING}
    """
)
_DELETE_ROUTING: Final = text(
    "DELETE FROM build_routings WHERE tenant = :tenant AND capability = :capability"
)
_COUNT_OTHER_PAUSES: Final = text(
    "SELECT count(*) FROM pauses WHERE tenant = :tenant AND (kind, target) <> (:kind, :target)"
)
_COUNT_OTHER_ROUTINGS: Final = text(
    "SELECT count(*) FROM build_routings WHERE tenant = :tenant AND capability <> :capability"
)
_NOTIFY: Final = text("SELECT pg_notify(:channel, '')")


async def put_pauses(connection: Connection, pauses: Sequence[Pause]) -> None:
    """Store pauses, each in place of an earlier one of the same."""
    # The last of several of the same, since one statement changes a row but once.
    last = {(pause.tenant, pause.kind, pause.target): pause for pause in pauses}
    rows = [
        (p.id, p.tenant, p.kind.value, p.target, p.until, p.reason, p.creator, p.create_time)
        for p in last.values()
    ]
    await connection.execute(_PUT, *map(list, zip(*rows, strict=True)))


async def lock_pauses(connection: Connection, ids: Collection[UUID]) -> list[Pause]:
    """Return those of the pauses that there are, locked."""
    return [_pause(row) for row in await connection.fetch(_LOCK, sorted(ids))]


async def delete_pauses(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete pauses."""
    await connection.execute(_DELETE, list(ids))


async def pauses_in_force(connection: AsyncConnection) -> tuple[list[Pause], datetime | None]:
    """Return the pauses of all tenants, without those that are over, and the time now.

    The time is None if there are no pauses.
    """
    rows = (await connection.execute(_IN_FORCE)).mappings().all()
    if not rows:
        return [], None
    now: datetime = rows[0]["now"]
    pauses = [_pause(row) for row in rows]
    in_force = [pause for pause in pauses if pause.until is None or pause.until > now]
    if len(in_force) < len(pauses):
        await connection.execute(_END_LAPSED)
    return in_force, now


async def list_pauses(connection: AsyncConnection, tenant: str, most: int) -> list[Pause]:
    """Return the pauses of a tenant that are in force, the newest first."""
    rows = await connection.execute(_LIST, {"tenant": tenant, "most": most})
    return [_pause(row) for row in rows.mappings()]


async def count_other_pauses(connection: AsyncConnection, pause: Pause) -> int:
    """Count the pauses of a tenant but those that this one would replace."""
    values = {"tenant": pause.tenant, "kind": pause.kind.value, "target": pause.target}
    return int((await connection.execute(_COUNT_OTHER_PAUSES, values)).scalar_one())


async def count_other_routings(connection: AsyncConnection, routing: BuildRouting) -> int:
    """Count the build routings of a tenant but that which this one would replace."""
    values = {"tenant": routing.tenant, "capability": routing.capability}
    return int((await connection.execute(_COUNT_OTHER_ROUTINGS, values)).scalar_one())


async def all_routings(connection: AsyncConnection) -> list[BuildRouting]:
    """Return the build routings of all tenants."""
    return [_routing(row) for row in await connection.execute(_ALL_ROUTINGS)]


async def list_routings(connection: AsyncConnection, tenant: str, most: int) -> list[BuildRouting]:
    """Return the build routings of a tenant, by capability."""
    rows = await connection.execute(_LIST_ROUTINGS, {"tenant": tenant, "most": most})
    return [_routing(row) for row in rows]


async def set_routing(
    connection: AsyncConnection, routing: BuildRouting, channel: str
) -> BuildRouting:
    """Store a build routing in place of an earlier one, tell the replicas, and return it."""
    values = {
        "tenant": routing.tenant,
        "capability": routing.capability,
        "current": routing.current_build_id,
        "ramping": routing.ramping_build_id,
        "percent": routing.ramping_percent,
    }
    stored = _routing((await connection.execute(_SET_ROUTING, values)).one())
    await connection.execute(_NOTIFY, {"channel": channel})
    return stored


async def delete_routing(
    connection: AsyncConnection, tenant: str, capability: str, channel: str
) -> None:
    """Delete a build routing, if there is one, and tell the replicas."""
    await connection.execute(_DELETE_ROUTING, {"tenant": tenant, "capability": capability})
    await connection.execute(_NOTIFY, {"channel": channel})


def _pause(row: Any) -> Pause:
    return Pause(
        row["id"],
        row["tenant"],
        PauseKind(row["kind"]),
        row["target"],
        row["until"],
        row["reason"],
        row["creator"],
        row["create_time"],
    )


def _routing(row: Any) -> BuildRouting:
    return BuildRouting(
        row.tenant,
        row.capability,
        row.current_build_id,
        row.ramping_build_id,
        row.ramping_percent,
        row.update_time,
    )
