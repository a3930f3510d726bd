"""An agent process: registers, keeps a dispatch stream, survives its loss, leaves in order."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import grpc
from grpc import aio

from agentmesh.connection import Connection
from agentmesh.errors import MeshError, from_rpc_error
from agentmesh.handlers import Handler
from agentmesh.running import Running
from agentmesh.session import Session
from mesh.registry.v1 import agent_pb2, registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import dispatch_service_pb2

log = logging.getLogger("agentmesh")

_BACKOFF_SECONDS = (0.2, 10.0)
_CALL_SECONDS = 10.0
_REGISTRY_HEARTBEAT_SECONDS = 10.0
_LEAVING_SECONDS = 2.0
_GIVING_BACK_SECONDS = 5.0
# A session that lasted this long was a good one.
_STEADY_SECONDS = 5.0
_FATAL = {"UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNIMPLEMENTED"}

Registry = registry_service_pb2_grpc.RegistryServiceStub


class Worker:
    """Serves an agent's handlers until told to leave."""

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        description: str,
        labels: Mapping[str, str],
        slots: int,
        handlers: Mapping[str, Handler],
        grace: float,
    ) -> None:
        self._connection = connection
        self._agent = agent_pb2.Agent(
            name=name,
            description=description,
            labels=labels,
            capabilities=[
                agent_pb2.Capability(
                    name=handler.capability,
                    version=handler.version,
                    description=handler.description[:1024],
                )
                for handler in handlers.values()
            ],
        )
        self._slots = slots
        self._grace = grace
        self._running = Running(handlers)
        self._leaving = asyncio.Event()
        self._left = asyncio.Event()
        self._agent_id = ""

    def leave(self) -> None:
        """Have `run` take no more tasks, finish those that run, and return."""
        self._leaving.set()

    async def run(self) -> None:
        """Serve until told to leave.

        Raises:
            MeshError: The mesh refuses this agent for good.
        """
        async with self._connection.channel() as channel:
            registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
            serving = asyncio.create_task(self._serve(channel, registry))
            beating = asyncio.create_task(self._keep_registered(registry))
            leaving = asyncio.create_task(self._leaving.wait())
            try:
                await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not serving.done():
                    await self._finish(serving)
                if serving.done():
                    serving.result()
            finally:
                for task in (leaving, serving, beating):
                    task.cancel()
                await asyncio.gather(leaving, serving, beating, return_exceptions=True)
                self._running.release_all()
                await self._say_goodbye(registry)

    async def _finish(self, serving: asyncio.Task[None]) -> None:
        """Let running tasks end while the stream goes on; give back what doesn't end in time."""
        log.info("leaving: no more tasks")
        left = asyncio.create_task(self._left.wait())
        # Until the server has agreed, a task may still be on its way here.
        await asyncio.wait(
            {serving, left}, timeout=_LEAVING_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        left.cancel()
        idle = asyncio.create_task(self._running.idle())
        for seconds in (self._grace, _GIVING_BACK_SECONDS):
            await asyncio.wait(
                {serving, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if idle.done() or serving.done():
                break
            self._running.release_all()
        idle.cancel()

    async def _serve(self, channel: aio.Channel, registry: Registry) -> None:
        delay = _BACKOFF_SECONDS[0]
        while True:
            began = time.monotonic()
            try:
                await self._register(registry)
                await self._session(channel)
            except MeshError as error:
                if error.code in _FATAL:
                    raise
                log.warning("%s; trying again", error)
            if time.monotonic() - began > _STEADY_SECONDS:
                delay = _BACKOFF_SECONDS[0]
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
            delay = min(delay * 2, _BACKOFF_SECONDS[1])

    async def _register(self, registry: Registry) -> None:
        request = registry_service_pb2.RegisterAgentRequest(agent=self._agent)
        try:
            self._agent_id = (await self._call(registry.RegisterAgent, request)).id
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _session(self, channel: aio.Channel) -> None:
        hello = dispatch_service_pb2.Hello(
            agent_id=self._agent_id,
            slots=self._slots,
            capabilities=[capability.name for capability in self._agent.capabilities],
            sdk=f"agentmesh-python/{version('agentmesh')}",
        )
        session = Session(
            channel, self._connection.metadata, self._running, self._leaving, self._left
        )
        await session.run(hello)

    async def _keep_registered(self, registry: Registry) -> None:
        while True:
            await asyncio.sleep(_REGISTRY_HEARTBEAT_SECONDS)
            if not self._agent_id:
                continue
            try:
                await self._heartbeat(registry)
            except aio.AioRpcError as error:
                log.warning("no heartbeat: %s", from_rpc_error(error))
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    with suppress(MeshError):
                        await self._register(registry)

    async def _say_goodbye(self, registry: Registry) -> None:
        if self._agent_id:
            with suppress(aio.AioRpcError):
                await self._heartbeat(registry, leaving=True)

    async def _heartbeat(self, registry: Registry, *, leaving: bool = False) -> None:
        request = registry_service_pb2.HeartbeatAgentRequest(
            agent_id=self._agent_id, leaving=leaving
        )
        await self._call(registry.HeartbeatAgent, request)

    async def _call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self._connection.metadata, timeout=_CALL_SECONDS)
