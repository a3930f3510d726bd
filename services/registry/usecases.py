"""What callers want of the registry, one method each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.filtering import Filter
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from services.registry import store
from services.registry.domain import Agent, CapabilityOffer, Profile
from services.registry.errors import AgentNotFound

log = structlog.get_logger()

_ENDED = timedelta(0)


class Agents:
    """Registers agents, keeps their leases, and finds them."""

    def __init__(self, database: Database, *, lease: timedelta, ids: IdSource = uuid7) -> None:
        self._database = database
        self._lease = lease
        self._ids = ids

    async def register(self, tenant: str, profile: Profile) -> Agent:
        """Store an agent and start its lease; one of a known name keeps its id."""
        new_id = self._ids()

        async def work(connection: AsyncConnection) -> Agent:
            agent_id = await store.upsert_agent(connection, tenant, new_id, profile, self._lease)
            await store.replace_capabilities(connection, tenant, agent_id, profile.capabilities)
            return _found(await store.get_agent(connection, tenant, agent_id))

        agent = await self._database.transaction(work)
        log.info("agent registered", agent_id=str(agent.id), new=agent.id == new_id)
        return agent

    async def get(self, tenant: str, agent_id: UUID) -> Agent:
        """Return an agent of the tenant.

        Raises:
            AgentNotFound: There is none.
        """
        return _found(await self._database.read(lambda tx: store.get_agent(tx, tenant, agent_id)))

    async def list(self, tenant: str, wanted: Filter | None, page: Keyset) -> KeysetPage[Agent]:
        """Return a page of the tenant's agents; None for `wanted` selects all of them."""
        agents = await self._database.read(lambda tx: store.list_agents(tx, tenant, wanted, page))
        return keyset_page(agents, page, lambda agent: {"id": agent.id})

    async def heartbeat(self, tenant: str, agent_id: UUID, *, leaving: bool) -> Agent:
        """Renew an agent's lease, or end it at once if the agent is leaving.

        Raises:
            AgentNotFound: There is none.
        """
        lease = _ENDED if leaving else self._lease
        return _found(
            await self._database.transaction(
                lambda tx: store.renew_lease(tx, tenant, agent_id, lease)
            )
        )

    async def deregister(self, tenant: str, agent_id: UUID) -> None:
        """Remove an agent.

        Raises:
            AgentNotFound: There is none.
        """
        removed = await self._database.transaction(
            lambda tx: store.delete_agent(tx, tenant, agent_id)
        )
        if not removed:
            raise AgentNotFound
        log.info("agent deregistered", agent_id=str(agent_id))

    async def offers(self, tenant: str, capability: str | None) -> Sequence[CapabilityOffer]:
        """Count the tenant's agents by capability, or by the one named, in order of the name."""
        return await self._database.read(lambda tx: store.list_offers(tx, tenant, capability))


def _found(agent: Agent | None) -> Agent:
    if agent is None:
        raise AgentNotFound
    return agent
