"""The RPCs of the registry: decode, delegate, encode."""

from __future__ import annotations

from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from mesh.registry.v1 import agent_pb2, registry_service_pb2, registry_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from services.registry import convert
from services.registry.usecases import Agents


class RegistryServicer(registry_service_pb2_grpc.RegistryServiceServicer):
    """Serves `mesh.registry.v1.RegistryService`."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def RegisterAgent(
        self, request: registry_service_pb2.RegisterAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Register an agent, or renew the registration of its name."""
        profile = convert.profile_from_proto(request.agent)
        agent = await self._agents.register(current_principal().tenant, profile)
        return convert.agent_to_proto(agent)

    async def GetAgent(
        self, request: registry_service_pb2.GetAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Get one agent."""
        tenant = current_principal().tenant
        return convert.agent_to_proto(await self._agents.get(tenant, UUID(request.agent_id)))

    async def ListAgents(
        self, request: registry_service_pb2.ListAgentsRequest, context: Context
    ) -> registry_service_pb2.ListAgentsResponse:
        """List the tenant's agents."""
        tenant, expression = current_principal().tenant, request.filter
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant, expression)
        page = await self._agents.list(tenant, convert.agent_filter(expression), wanted)
        return registry_service_pb2.ListAgentsResponse(
            agents=[convert.agent_to_proto(agent) for agent in page.items],
            next_page_token=page.next_page_token,
        )

    async def HeartbeatAgent(
        self, request: registry_service_pb2.HeartbeatAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Renew an agent's lease, or end it."""
        tenant, agent_id = current_principal().tenant, UUID(request.agent_id)
        agent = await self._agents.heartbeat(tenant, agent_id, leaving=request.leaving)
        return convert.agent_to_proto(agent)

    async def DeregisterAgent(
        self, request: registry_service_pb2.DeregisterAgentRequest, context: Context
    ) -> Empty:
        """Remove an agent."""
        await self._agents.deregister(current_principal().tenant, UUID(request.agent_id))
        return Empty()

    async def ListCapabilities(
        self, request: registry_service_pb2.ListCapabilitiesRequest, context: Context
    ) -> registry_service_pb2.ListCapabilitiesResponse:
        """List what the tenant's agents can do."""
        offers = await self._agents.offers(current_principal().tenant, request.name or None)
        return registry_service_pb2.ListCapabilitiesResponse(
            offers=[convert.offer_to_proto(offer) for offer in offers]
        )
