"""An agent's entry in the registry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import grpc
from grpc import aio

from agentmesh.errors import MeshError, from_rpc_error
from mesh.registry.v1 import agent_pb2, registry_service_pb2, registry_service_pb2_grpc

log = logging.getLogger("agentmesh")

_CALL_SECONDS: Final = 10.0
_HEARTBEAT_SECONDS: Final = 10.0


class Registration:
    """Registers an agent and keeps it known as online.

    Attributes:
        agent_id: Its id; empty until it is registered.
    """

    def __init__(
        self, channel: aio.Channel, metadata: Sequence[tuple[str, str]], agent: agent_pb2.Agent
    ) -> None:
        self._metadata = metadata
        self._agent = agent
        self.agent_id = ""
        self.use(channel)

    def use(self, channel: aio.Channel) -> None:
        """Call the registry on this channel from now on."""
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channel)

    async def register(self) -> None:
        """Register the agent, which may be registered already.

        Raises:
            MeshError: The mesh refuses it, or can't be reached.
        """
        request = registry_service_pb2.RegisterAgentRequest(agent=self._agent)
        try:
            self.agent_id = (await self._call(self._stub.RegisterAgent, request)).id
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def keep(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            if not self.agent_id:
                continue
            try:
                await self._heartbeat()
            except aio.AioRpcError as error:
                log.warning("no heartbeat: %s", from_rpc_error(error))
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    with suppress(MeshError):
                        await self.register()

    async def say_goodbye(self) -> None:
        """Tell the registry that the agent goes offline."""
        if self.agent_id:
            with suppress(aio.AioRpcError):
                await self._heartbeat(leaving=True)

    async def _heartbeat(self, *, leaving: bool = False) -> None:
        request = registry_service_pb2.HeartbeatAgentRequest(
            agent_id=self.agent_id, leaving=leaving
        )
        await self._call(self._stub.HeartbeatAgent, request)

    async def _call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self._metadata, timeout=_CALL_SECONDS)
