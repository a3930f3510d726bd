"""The services that task asks, in the words of its own domain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

import structlog
from cachetools import TTLCache
from grpc import aio

from mesh.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc, invocation_pb2
from mesh.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import task_events_pb2, task_pb2
from meshkit.client import Channels
from meshkit.errors import NotFound, Unavailable
from meshkit.events.outbox import Event
from meshkit.security.principal import Principal, acting_for
from meshkit.statuses import from_peer_error
from services.task.domain.task import Agent
from services.task.errors import AgentNotFound

log = structlog.get_logger()

_KNOWN_SECONDS = 60.0
_KNOWN_SIZE = 10_000
_LOOKUPS: Final = 50


class Registry:
    """What the registry knows of agents."""

    def __init__(self, channels: Channels) -> None:
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(channels.to("registry"))
        self._known: TTLCache[tuple[str, str], bool] = TTLCache(_KNOWN_SIZE, _KNOWN_SECONDS)
        # When thousands of agents come back at once, more would only make each slower, past its
        # deadline, after which they come again.
        self._lookups = asyncio.Semaphore(_LOOKUPS)

    def is_known(self, tenant: str, capability: str) -> bool:
        """Tell whether it is known, without asking, that an agent has offered a capability."""
        return (tenant, capability) in self._known

    async def knows_capability(self, tenant: str, capability: str) -> bool:
        """Tell whether any agent of the caller's tenant has ever offered the capability.

        While the registry is away the answer is yes: a task for nobody waits, which
        does less harm than refusing one for somebody.
        """
        if (tenant, capability) in self._known:
            return True
        request = registry_service_pb2.ListCapabilitiesRequest(name=capability)
        try:
            async with self._lookups:
                response = await self._stub.ListCapabilities(request)
        except aio.AioRpcError as error:
            problem = from_peer_error(error)
            if not isinstance(problem, Unavailable):
                raise problem from error
            log.warning("capability unchecked", capability=capability, cause=problem.message)
            return True
        if response.offers:
            self._known[tenant, capability] = True
        return bool(response.offers)

    async def get_agent(self, tenant: str, agent_id: UUID, *, field: str) -> Agent:
        """Return an agent of the caller's tenant; `field` is where its id came from.

        Raises:
            AgentNotFound: There is none.
            Unavailable: The registry is away.
        """
        request = registry_service_pb2.GetAgentRequest(agent_id=str(agent_id))
        try:
            async with self._lookups:
                found = await self._stub.GetAgent(request)
        except aio.AioRpcError as error:
            problem = from_peer_error(error)
            if isinstance(problem, NotFound):
                problem = AgentNotFound(field)
            raise problem from error
        capabilities = {each.name: each.version for each in found.capabilities}
        self._known.update(dict.fromkeys(((tenant, each) for each in capabilities), True))
        return Agent(agent_id, tenant, found.name, capabilities, dict(found.labels))


_OUTCOMES: Final = {
    task_pb2.TASK_STATE_SUCCEEDED: invocation_pb2.OUTCOME_SUCCEEDED,
    task_pb2.TASK_STATE_FAILED: invocation_pb2.OUTCOME_FAILED,
    task_pb2.TASK_STATE_DEAD_LETTERED: invocation_pb2.OUTCOME_FAILED,
    task_pb2.TASK_STATE_CANCELLED: invocation_pb2.OUTCOME_CANCELLED,
}


class Analytics:
    """Records finished tasks with analytics."""

    def __init__(self, channels: Channels) -> None:
        self._stub = analytics_service_pb2_grpc.AnalyticsServiceStub(channels.to("analytics"))

    async def publish(self, events: Sequence[Event]) -> None:
        """Record each finished task as an invocation; a repeat changes nothing.

        Raises:
            DomainError: Analytics is away or refuses; nothing may be taken as recorded.
        """
        by_tenant = sorted(events, key=lambda event: event.tenant)
        for tenant, group in groupby(by_tenant, key=lambda event: event.tenant):
            await self._record(tenant, [_invocation(event) for event in group])

    async def _record(self, tenant: str, invocations: list[invocation_pb2.Invocation]) -> None:
        request = analytics_service_pb2.BatchCreateInvocationsRequest(invocations=invocations)
        with acting_for(Principal("service:task", tenant, ())):
            try:
                await self._stub.BatchCreateInvocations(request)
            except aio.AioRpcError as error:
                raise from_peer_error(error) from error


def _invocation(event: Event) -> invocation_pb2.Invocation:
    finished = task_events_pb2.TaskFinished.FromString(event.payload)
    invocation = invocation_pb2.Invocation(
        id=str(event.id),
        task_id=finished.task_id,
        capability=finished.capability,
        agent_id=finished.agent_id,
        agent_name=finished.agent_name,
        caller=finished.creator,
        outcome=_OUTCOMES[finished.state],
        error_type=finished.error.type,
        attempts=finished.attempts,
        end_time=finished.end_time,
    )
    if finished.HasField("start_time"):
        created, started = finished.create_time, finished.start_time
        queued = started.ToNanoseconds() - created.ToNanoseconds()
        ran = finished.end_time.ToNanoseconds() - started.ToNanoseconds()
        invocation.queue_time.FromNanoseconds(max(queued, 0))
        invocation.latency.FromNanoseconds(max(ran, 0))
    return invocation
