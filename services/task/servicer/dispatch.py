"""Serves `mesh.task.v1.DispatchService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import dispatch_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.security.principal import current_principal
from services.task.convert import dispatching as convert
from services.task.convert.reports import outcomes_of
from services.task.dispatch.streams import DrainCause, Pulse, Stream
from services.task.dispatcher import Dispatcher
from services.task.domain.task import Agent, Lease
from services.task.errors import CapabilityNotRegistered, DispatchProtocol
from services.task.peers import Registry
from services.task.settings import DispatchSettings
from services.task.usecases.attempts import Attempts

Request = dispatch.DispatchRequest
Response = dispatch.DispatchResponse


class DispatchServicer(dispatch_service_pb2_grpc.DispatchServiceServicer):
    """The side of agents."""

    def __init__(
        self,
        attempts: Attempts,
        dispatcher: Dispatcher,
        registry: Registry,
        settings: DispatchSettings,
    ) -> None:
        self._attempts = attempts
        self._dispatcher = dispatcher
        self._registry = registry
        self._settings = settings

    async def Dispatch(
        self, request_iterator: AsyncIterator[Request], context: Context
    ) -> AsyncIterator[Response]:
        """Be the stream of one agent process."""
        self._dispatcher.check_open()
        hello = await _hello(request_iterator)
        agent = await self._agent(hello.agent_id, hello.capabilities, within="hello.")
        stream = Stream(
            agent,
            frozenset(hello.capabilities),
            hello.slots,
            build_id=hello.build_id,
            process_id=hello.process_id,
            sdk=hello.sdk,
            merges=hello.merges_receipts,
        )
        yield await self._welcome(stream, hello)
        self._dispatcher.open(stream)
        reading = asyncio.create_task(self._read(stream, request_iterator))
        try:
            async for message in stream.messages():
                yield convert.message_to_proto(message)
            if reading.done():
                await reading
        finally:
            reading.cancel()
            self._dispatcher.close(stream)

    async def ClaimTasks(
        self, request: dispatch.ClaimTasksRequest, context: Context
    ) -> dispatch.ClaimTasksResponse:
        """Take tasks for an agent without a stream."""
        self._dispatcher.check_open()
        agent = await self._agent(request.agent_id, request.capabilities)
        stream = Stream(
            agent,
            frozenset(request.capabilities),
            request.max_tasks or 1,
            build_id=request.build_id,
        )
        wait = request.wait.ToNanoseconds() / 1e9
        assigned = await self._dispatcher.first(stream, wait)
        return dispatch.ClaimTasksResponse(
            assignments=[
                convert.assignment_to_proto(task, each.results.get(task.id, {}))
                for each in assigned
                for task in each.tasks
            ],
            lease_duration=convert.duration_to_proto(self._settings.lease),
        )

    async def ReportTasks(
        self, request: dispatch.ReportTasksRequest, context: Context
    ) -> dispatch.ReportTasksResponse:
        """Record what became of tasks."""
        agent = Agent(UUID(request.agent_id), current_principal().tenant, "", {})
        outcomes = outcomes_of(dispatch.Reports(reports=request.reports))
        receipts = await self._attempts.report(agent, outcomes)
        return dispatch.ReportTasksResponse(receipts=convert.receipts_to_proto(receipts))

    async def RenewLeases(
        self, request: dispatch.RenewLeasesRequest, context: Context
    ) -> dispatch.RenewLeasesResponse:
        """Renew leases of tasks that were claimed."""
        agent = Agent(UUID(request.agent_id), current_principal().tenant, "", {})
        leases = convert.leases_from_proto(request.holding)
        renewed = await self._attempts.renew(agent, leases)
        return dispatch.RenewLeasesResponse(
            lost=convert.leases_to_proto(each for each in leases if each not in renewed.held),
            cancel_requested=convert.leases_to_proto(renewed.to_stop),
            lease_duration=convert.duration_to_proto(self._settings.lease),
        )

    async def _agent(
        self, agent_id: str, capabilities: Sequence[str], *, within: str = ""
    ) -> Agent:
        agent = await self._registry.get_agent(
            current_principal().tenant, UUID(agent_id), field=f"{within}agent_id"
        )
        for capability in capabilities:
            if capability not in agent.capabilities:
                raise CapabilityNotRegistered(capability, f"{within}capabilities")
        return agent

    async def _welcome(self, stream: Stream, hello: dispatch.Hello) -> Response:
        claimed = convert.leases_from_proto(hello.holding)
        lost: list[Lease] = []
        if claimed:
            renewed = await self._attempts.renew(stream.agent, claimed)
            stream.held.update({lease.task_id: lease.epoch for lease in renewed.held})
            lost = [lease for lease in claimed if lease not in renewed.held]
            self._dispatcher.ask_to_stop(stream, renewed)
        return Response(
            welcome=dispatch.Welcome(
                lease_duration=convert.duration_to_proto(self._settings.lease),
                heartbeat_interval=convert.duration_to_proto(self._settings.heartbeat),
                lost=convert.leases_to_proto(lost),
                idle_heartbeat_interval=convert.duration_to_proto(self._settings.idle_heartbeat),
            )
        )

    async def _read(self, stream: Stream, requests: AsyncIterator[Request]) -> None:
        try:
            async with asyncio.TaskGroup() as recording:
                async for request in requests:
                    stream.seen = asyncio.get_running_loop().time()
                    await self._take(stream, request, recording)
        except ExceptionGroup as group:
            # The first tells why the stream ends.
            raise group.exceptions[0] from None
        finally:
            stream.end()

    async def _take(self, stream: Stream, request: Request, recording: asyncio.TaskGroup) -> None:
        match request.WhichOneof("message"):
            case "reports":
                outcomes = outcomes_of(request.reports)
                await self._dispatcher.take_reports(stream, outcomes, recording)
            case "heartbeat":
                stream.send(Pulse())
                leases = convert.leases_from_proto(request.heartbeat.holding)
                await self._dispatcher.renew(stream, leases)
            case "leaving":
                self._dispatcher.leave(stream, DrainCause.LEAVING)
            case "credits":
                self._dispatcher.resize(stream, request.credits.slots)
            case _:
                raise DispatchProtocol("A hello comes first on a stream, and only first.")


async def _hello(requests: AsyncIterator[Request]) -> dispatch.Hello:
    async for request in requests:
        if request.HasField("hello"):
            return request.hello
        break
    raise DispatchProtocol("A stream starts with a hello.")
