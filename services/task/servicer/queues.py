"""Serves `mesh.task.v1.QueueService`."""

from __future__ import annotations

from uuid import UUID

from mesh.task.v1 import queue_service_pb2 as queue
from mesh.task.v1 import queue_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.security.principal import current_principal
from services.task.convert import queues as convert
from services.task.usecases.queues import Queues


class QueueServicer(queue_service_pb2_grpc.QueueServiceServicer):
    """The side of operators."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def ListQueues(
        self, request: queue.ListQueuesRequest, context: Context
    ) -> queue.ListQueuesResponse:
        """List queues."""
        found = await self._queues.list_queues(current_principal().tenant)
        return queue.ListQueuesResponse(queues=map(convert.queue_to_proto, found))

    async def CreatePause(self, request: queue.CreatePauseRequest, context: Context) -> queue.Pause:
        """Begin a pause."""
        pause = convert.pause_from_proto(request.pause, current_principal())
        return convert.pause_to_proto(await self._queues.pause(pause))

    async def ListPauses(
        self, request: queue.ListPausesRequest, context: Context
    ) -> queue.ListPausesResponse:
        """List pauses."""
        found = await self._queues.list_pauses(current_principal().tenant)
        return queue.ListPausesResponse(pauses=map(convert.pause_to_proto, found))

    async def DeletePause(
        self, request: queue.DeletePauseRequest, context: Context
    ) -> queue.DeletePauseResponse:
        """End a pause."""
        await self._queues.end_pause(current_principal().tenant, UUID(request.pause_id))
        return queue.DeletePauseResponse()

    async def SetBuildRouting(
        self, request: queue.SetBuildRoutingRequest, context: Context
    ) -> queue.BuildRouting:
        """Route the tasks of a capability."""
        routing = convert.routing_from_proto(request.routing, current_principal().tenant)
        return convert.routing_to_proto(await self._queues.route(routing))

    async def ListBuildRoutings(
        self, request: queue.ListBuildRoutingsRequest, context: Context
    ) -> queue.ListBuildRoutingsResponse:
        """List build routings."""
        found = await self._queues.list_routings(current_principal().tenant)
        return queue.ListBuildRoutingsResponse(routings=map(convert.routing_to_proto, found))

    async def DeleteBuildRouting(
        self, request: queue.DeleteBuildRoutingRequest, context: Context
    ) -> queue.DeleteBuildRoutingResponse:
        """End the routing of a capability."""
        await self._queues.end_routing(current_principal().tenant, request.capability)
        return queue.DeleteBuildRoutingResponse()

    async def ListConnections(
        self, request: queue.ListConnectionsRequest, context: Context
    ) -> queue.ListConnectionsResponse:
        """List who is connected."""
        found = await self._queues.list_connections(current_principal().tenant)
        return queue.ListConnectionsResponse(connections=map(convert.connection_to_proto, found))
