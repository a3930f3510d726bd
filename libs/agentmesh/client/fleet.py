"""Agents, figures and keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agentmesh.client.caller import Caller
from agentmesh.resources import AgentInfo, NewApiKey, Overview
from mesh.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc
from mesh.auth.v1 import api_key_pb2, auth_service_pb2, auth_service_pb2_grpc
from mesh.registry.v1 import registry_service_pb2, registry_service_pb2_grpc


class Fleet:
    """The part of a client that knows agents, figures and keys."""

    _caller: Caller

    async def list_agents(self, filter: str = "") -> list[AgentInfo]:  # noqa: A002 - the contract's word
        """Return the agents that the filter names, the newest first, at most 1000."""
        stub = registry_service_pb2_grpc.RegistryServiceStub(self._caller.channel)
        request = registry_service_pb2.ListAgentsRequest(filter=filter, page_size=1000)
        response = await self._caller.call(stub.ListAgents, request)
        return [AgentInfo.from_proto(agent) for agent in response.agents]

    async def overview(self, since: datetime | None = None) -> Overview:
        """Return what the fleet did and how well, of tasks that ended at `since` or later.

        Raises:
            MeshError: The key may not, or the mesh can't be reached.
        """
        stub = analytics_service_pb2_grpc.AnalyticsServiceStub(self._caller.channel)
        request = analytics_service_pb2.GetOverviewRequest()
        if since is not None:
            request.start_time.FromDatetime(since)
        return Overview.from_proto(await self._caller.call(stub.GetOverview, request))

    async def create_api_key(self, display_name: str, roles: Sequence[str]) -> NewApiKey:
        """Create an API key and return it with its secret, which can't be had again.

        Not repeated if the reply is lost: a key that nobody knows is better never made.

        Args:
            display_name: What the key is for, in words.
            roles: Of `viewer`, `analyst`, `operator`, `admin` and `agent`.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        stub = auth_service_pb2_grpc.AuthServiceStub(self._caller.channel)
        key = api_key_pb2.ApiKey(display_name=display_name, roles=roles)
        request = auth_service_pb2.CreateApiKeyRequest(api_key=key)
        return NewApiKey.from_proto(await self._caller.call(stub.CreateApiKey, request, attempts=1))

    async def revoke_api_key(self, api_key_id: str) -> None:
        """End an API key for good; one that is revoked already stays so.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        stub = auth_service_pb2_grpc.AuthServiceStub(self._caller.channel)
        request = auth_service_pb2.RevokeApiKeyRequest(api_key_id=api_key_id)
        await self._caller.call(stub.RevokeApiKey, request)
