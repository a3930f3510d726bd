"""Serves `mesh.task.v1.DispatchService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from mesh.task.v1 import dispatch_service_pb2, dispatch_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.security.principal import current_principal
from services.task import convert
from services.task.dispatcher import Dispatcher, Lost, Received, Stream
from services.task.domain import Lease
from services.task.errors import CapabilityNotRegistered, DispatchProtocol
from services.task.peers import Registry
from services.task.settings import DispatchSettings
from services.task.usecases.attempts import Attempts, Receipt

Request = dispatch_service_pb2.DispatchRequest
Response = dispatch_service_pb2.DispatchResponse


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
        stream = await self._stream(hello)
        yield await self._welcome(stream, hello)
        self._dispatcher.open(stream)
        reading = asyncio.create_task(self._read(stream, request_iterator))
        try:
            async for message in stream.messages():
                yield convert.message_to_proto(message)
            await reading
        finally:
            reading.cancel()
            self._dispatcher.close(stream)

    async def _stream(self, hello: dispatch_service_pb2.Hello) -> Stream:
        tenant = current_principal().tenant
        agent = await self._registry.get_agent(tenant, UUID(hello.agent_id))
        for capability in hello.capabilities:
            if capability not in agent.capabilities:
                raise CapabilityNotRegistered(capability)
        return Stream(agent, tuple(hello.capabilities), hello.slots)

    async def _welcome(self, stream: Stream, hello: dispatch_service_pb2.Hello) -> Response:
        claimed = convert.leases_from_proto(hello.holding)
        held = await self._attempts.renew(stream.agent, claimed)
        stream.held.update({lease.task_id: lease.epoch for lease in held})
        lost = [lease for lease in claimed if lease not in held]
        return Response(
            welcome=dispatch_service_pb2.Welcome(
                lease_duration=_duration(self._settings.lease),
                heartbeat_interval=_duration(self._settings.heartbeat),
                lost=convert.leases_to_proto(lost),
            )
        )

    async def _read(self, stream: Stream, requests: AsyncIterator[Request]) -> None:
        try:
            async for request in requests:
                await self._take(stream, request)
        finally:
            stream.end()

    async def _take(self, stream: Stream, request: Request) -> None:
        match request.WhichOneof("message"):
            case "reports":
                await self._record(stream, request.reports)
            case "heartbeat":
                await self._renew(stream, convert.leases_from_proto(request.heartbeat.holding))
            case "leaving":
                self._dispatcher.leave(stream)
            case _:
                raise DispatchProtocol("A hello comes first on a stream, and only first.")

    async def _record(self, stream: Stream, reports: dispatch_service_pb2.Reports) -> None:
        receipts: list[Receipt] = []
        for report in reports.reports:
            lease = convert.lease_from_proto(report.lease)
            outcome = convert.outcome_from_proto(report)
            receipt = await self._attempts.report(stream.agent, lease, outcome)
            receipts.append(receipt)
            if report.WhichOneof("report") != "progress" or not receipt.accepted:
                stream.drop(lease)
        stream.send(Received(receipts))
        self._dispatcher.offer(stream)

    async def _renew(self, stream: Stream, leases: list[Lease]) -> None:
        held = await self._attempts.renew(stream.agent, leases)
        lost = [lease for lease in leases if lease not in held]
        for lease in lost:
            stream.drop(lease)
        if lost:
            stream.send(Lost(lost))
            self._dispatcher.offer(stream)


async def _hello(requests: AsyncIterator[Request]) -> dispatch_service_pb2.Hello:
    async for request in requests:
        if request.HasField("hello"):
            return request.hello
        break
    raise DispatchProtocol("A stream starts with a hello.")


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
