"""SQL of analytics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from asyncpg.pgproto import pgproto
from sqlalchemy import ColumnElement, Dialect, Label, Select, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.filtering import Filter, to_sql
from meshkit.paging import Keyset, paged
from services.analytics.domain import (
    AgentTotals,
    CapabilityTotals,
    Invocation,
    Latency,
    Outcome,
    Period,
    Recorded,
    Totals,
)
from services.analytics.tables import InvocationRow

_BUSIEST: Final = 100
_INVOCATION: Final = tuple(each.name for each in fields(Invocation))
_RECORD: Final = ("record_id", *_INVOCATION)
_values: Final = attrgetter(*_INVOCATION)
_COLUMNS: Final = InvocationRow.__table__.columns
_SORT_COLUMNS: Final = {"id": InvocationRow.record_id}
_DIALECT: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types


def _array(name: str) -> str:
    return f"CAST(:{name} AS {_COLUMNS[name].type.compile(_DIALECT)}[])"


_INSERT: Final = text(
    f"""
    INSERT INTO invocations (tenant, {", ".join(_RECORD)})
    SELECT :tenant, record.* FROM unnest({", ".join(map(_array, _RECORD))}) AS record
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - the names and types of columns
)


async def begin_snapshot(connection: AsyncConnection) -> None:
    """Have every query of this transaction see the same data; call it first."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


async def insert_invocations(
    connection: AsyncConnection, tenant: str, invocations: Sequence[Invocation], first_record: UUID
) -> int:
    """Store those invocations that the tenant doesn't have yet; return how many were new.

    They are numbered from `first_record` on. Of several with one id, the first is stored.
    """
    records = zip(_ids_from(first_record, len(invocations)), invocations, strict=True)
    # In order of their keys, so that two batches that overlap wait for one another, not in a ring.
    ordered = sorted(records, key=lambda record: record[1].id.int)
    columns = zip(*((record_id, *_values(each)) for record_id, each in ordered), strict=True)
    values: dict[str, Any] = dict(zip(_RECORD, columns, strict=True))
    values["tenant"] = tenant
    return (await connection.execute(_INSERT, values)).rowcount


async def list_invocations(
    connection: AsyncConnection, tenant: str, wanted: Filter | None, page: Keyset
) -> list[Recorded]:
    """Return up to `page.size + 1` invocations of the tenant, in the order of the page."""
    query = select(*(_COLUMNS[name] for name in _RECORD)).where(InvocationRow.tenant == tenant)
    if wanted is not None:
        query = query.where(to_sql(wanted, _COLUMNS))
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_recorded(row) for row in rows]


async def total_all(connection: AsyncConnection, tenant: str, period: Period) -> Totals:
    """Add up the tenant's invocations that ended in the period."""
    query = select(*_figures()).where(*_ended(tenant, period))
    return _totals((await connection.execute(query)).one())


async def total_by_agent(
    connection: AsyncConnection, tenant: str, period: Period
) -> list[AgentTotals]:
    """Add up by agent; return the busiest 100, the busiest first."""
    agent_id = InvocationRow.agent_id
    figures = (
        select(agent_id, *_figures())
        .where(*_ended(tenant, period), agent_id.is_not(None))
        .group_by(agent_id)
        .order_by(func.count().desc(), agent_id)
        .limit(_BUSIEST)
        .subquery()
    )
    query = select(figures, _last_name(tenant, figures.c.agent_id).label("agent_name"))
    query = query.order_by(figures.c.total.desc(), figures.c.agent_id)
    return [
        AgentTotals(row.agent_id, row.agent_name, _totals(row))
        for row in await connection.execute(query)
    ]


async def total_by_capability(
    connection: AsyncConnection, tenant: str, period: Period
) -> list[CapabilityTotals]:
    """Add up by capability; return the 100 most used, the most used first."""
    capability = InvocationRow.capability
    query = (
        select(capability, *_figures())
        .where(*_ended(tenant, period))
        .group_by(capability)
        .order_by(func.count().desc(), capability)
        .limit(_BUSIEST)
    )
    return [
        CapabilityTotals(row.capability, _totals(row)) for row in await connection.execute(query)
    ]


def _ids_from(first: UUID, count: int) -> list[UUID]:
    return [pgproto.UUID((first.int + number).to_bytes(16, "big")) for number in range(count)]


def _ended(tenant: str, period: Period) -> list[ColumnElement[bool]]:
    conditions = [InvocationRow.tenant == tenant]
    if period.start is not None:
        conditions.append(InvocationRow.end_time >= period.start)
    if period.end is not None:
        conditions.append(InvocationRow.end_time < period.end)
    return conditions


def _figures() -> list[Label[Any]]:
    latency = InvocationRow.latency
    percentiles = func.percentile_cont(array([0.5, 0.95, 0.99])).within_group(latency)
    return [
        func.count().label("total"),
        *(
            func.count().filter(InvocationRow.outcome == outcome.value).label(outcome.value.lower())
            for outcome in Outcome
        ),
        func.avg(latency).label("mean"),
        percentiles.label("percentiles"),
    ]


def _last_name(tenant: str, agent_id: ColumnElement[Any]) -> Any:
    query: Select[Any] = (
        select(InvocationRow.agent_name)
        .where(InvocationRow.tenant == tenant, InvocationRow.agent_id == agent_id)
        .order_by(InvocationRow.record_id.desc())
        .limit(1)
    )
    return query.scalar_subquery()


def _totals(row: Any) -> Totals:
    latency = None if row.mean is None else Latency(row.mean, *row.percentiles)
    return Totals(row.succeeded, row.failed, row.cancelled, latency)


def _recorded(row: Any) -> Recorded:
    values = {name: getattr(row, name) for name in _INVOCATION}
    values["outcome"] = Outcome(row.outcome)
    return Recorded(row.record_id, Invocation(**values))
