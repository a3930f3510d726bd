"""SQL of the registry. Leases are set and judged by the database's clock alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Interval,
    Result,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.filtering import Columns, Filter, to_sql
from meshkit.paging import Keyset, paged
from services.registry.domain import (
    Agent,
    AgentState,
    Capability,
    CapabilityOffer,
    Profile,
)
from services.registry.tables import AgentRow, CapabilityRow

_ONLINE = AgentRow.lease_expire_time > func.now()
_SORT_COLUMNS = {"id": AgentRow.id}
_STATE = case((_ONLINE, AgentState.ONLINE.value), else_=AgentState.OFFLINE.value)

# Read along with their agent, so that no reader meets an agent between two sets of capabilities.
_CAPABILITIES = (
    select(
        func.jsonb_agg(
            aggregate_order_by(
                func.jsonb_build_array(
                    CapabilityRow.name, CapabilityRow.version, CapabilityRow.description
                ),
                CapabilityRow.position,
            )
        )
    )
    .where(CapabilityRow.agent_id == AgentRow.id)
    .correlate(AgentRow)
    .scalar_subquery()
)

# Built once: to build a statement takes longer than the database takes to answer it.
_AGENT_COLUMNS: Final = (
    *AgentRow.__table__.columns,
    _STATE.label("state"),
    _CAPABILITIES.label("capabilities"),
)
_THIS: Final = and_(AgentRow.tenant == bindparam("of"), AgentRow.id == bindparam("agent_id"))
_GET: Final = select(*_AGENT_COLUMNS).where(_THIS)
_RENEW: Final = (
    update(AgentRow)
    .where(_THIS)
    .values(
        heartbeat_time=func.now(),
        lease_expire_time=func.now() + bindparam("lease", type_=Interval),
    )
    .returning(*_AGENT_COLUMNS)
)
_OFFERS: Final = (
    select(CapabilityRow.name, func.count(), func.count().filter(_ONLINE))
    .join(AgentRow, AgentRow.id == CapabilityRow.agent_id)
    .where(CapabilityRow.tenant == bindparam("of"), AgentRow.tenant == bindparam("of"))
    .group_by(CapabilityRow.name)
    .order_by(CapabilityRow.name)
)
_OFFERS_OF_ONE: Final = _OFFERS.where(CapabilityRow.name == bindparam("capability"))


async def upsert_agent(
    connection: AsyncConnection, tenant: str, agent_id: UUID, profile: Profile, lease: timedelta
) -> UUID:
    """Store an agent and start its lease; return its id, the old one if the name is known."""
    statement = upsert(AgentRow).values(
        id=agent_id,
        tenant=tenant,
        name=profile.name,
        description=profile.description,
        labels=dict(profile.labels),
        create_time=func.now(),
        heartbeat_time=func.now(),
        lease_expire_time=func.now() + lease,
    )
    renewed = {
        column: getattr(statement.excluded, column)
        for column in ("description", "labels", "heartbeat_time", "lease_expire_time")
    }
    statement = statement.on_conflict_do_update(
        index_elements=[AgentRow.tenant, AgentRow.name], set_=renewed
    )
    return (await connection.execute(statement.returning(AgentRow.id))).scalar_one()


async def replace_capabilities(
    connection: AsyncConnection, tenant: str, agent_id: UUID, capabilities: Sequence[Capability]
) -> None:
    """Make these the agent's capabilities, in this order; there must be at least one."""
    await connection.execute(
        delete(CapabilityRow).where(
            CapabilityRow.tenant == tenant, CapabilityRow.agent_id == agent_id
        )
    )
    rows = [
        {
            "agent_id": agent_id,
            "name": capability.name,
            "tenant": tenant,
            "version": capability.version,
            "description": capability.description,
            "position": position,
        }
        for position, capability in enumerate(capabilities)
    ]
    await connection.execute(insert(CapabilityRow), rows)


async def get_agent(connection: AsyncConnection, tenant: str, agent_id: UUID) -> Agent | None:
    """Return an agent of the tenant, or None."""
    found = await connection.execute(_GET, {"of": tenant, "agent_id": agent_id})
    return _agent_or_none(found)


async def list_agents(
    connection: AsyncConnection, tenant: str, wanted: Filter | None, page: Keyset
) -> list[Agent]:
    """Return up to `page.size + 1` agents of the tenant, in the order of the page."""
    query = _agents(tenant)
    if wanted is not None:
        query = query.where(to_sql(wanted, _filter_columns(tenant)))
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_agent(row) for row in rows]


async def renew_lease(
    connection: AsyncConnection, tenant: str, agent_id: UUID, lease: timedelta
) -> Agent | None:
    """Have an agent's lease end `lease` from now; return the agent, or None if there is none."""
    values = {"of": tenant, "agent_id": agent_id, "lease": lease}
    return _agent_or_none(await connection.execute(_RENEW, values))


async def delete_agent(connection: AsyncConnection, tenant: str, agent_id: UUID) -> bool:
    """Delete an agent and its capabilities; return False if there is no such agent."""
    statement = delete(AgentRow).where(AgentRow.tenant == tenant, AgentRow.id == agent_id)
    return (await connection.execute(statement)).rowcount == 1


async def list_offers(
    connection: AsyncConnection, tenant: str, name: str | None
) -> list[CapabilityOffer]:
    """Count the tenant's agents by capability, or by the one named, in order of the name."""
    statement = _OFFERS if name is None else _OFFERS_OF_ONE
    rows = await connection.execute(statement, {"of": tenant, "capability": name})
    return [CapabilityOffer(*row) for row in rows]


def _agents(tenant: str) -> Select[Any]:
    return select(*_AGENT_COLUMNS).where(AgentRow.tenant == tenant)


def _filter_columns(tenant: str) -> Columns:
    return {
        "name": AgentRow.name,
        "state": _STATE,
        "capability": lambda name: AgentRow.id.in_(_agents_capable_of(tenant, name)),
        "labels": AgentRow.labels,
    }


def _agents_capable_of(tenant: str, capability: str) -> Select[UUID]:
    return select(CapabilityRow.agent_id).where(
        CapabilityRow.tenant == tenant, CapabilityRow.name == capability
    )


def _agent_or_none(found: Result[Any]) -> Agent | None:
    row = found.one_or_none()
    return None if row is None else _agent(row)


def _agent(row: Any) -> Agent:
    return Agent(
        id=row.id,
        profile=Profile(
            name=row.name,
            description=row.description,
            capabilities=tuple(Capability(*parts) for parts in row.capabilities),
            labels=row.labels,
        ),
        state=AgentState(row.state),
        create_time=row.create_time,
        heartbeat_time=row.heartbeat_time,
        lease_expire_time=row.lease_expire_time,
    )
