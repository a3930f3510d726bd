"""Serves `mesh.task.v1.BulkService`."""

from __future__ import annotations

from uuid import UUID

from mesh.task.v1 import bulk_service_pb2, bulk_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from services.task.bulk import BulkWorker
from services.task.convert import bulk as convert
from services.task.usecases.bulk import BulkOperations


class BulkServicer(bulk_service_pb2_grpc.BulkServiceServicer):
    """The side of those who do one thing to many tasks."""

    def __init__(self, operations: BulkOperations, worker: BulkWorker) -> None:
        self._operations = operations
        self._worker = worker

    async def StartBulkOperation(
        self, request: bulk_service_pb2.StartBulkOperationRequest, context: Context
    ) -> bulk_service_pb2.BulkOperation:
        """Start an operation."""
        new = convert.new_from_proto(request)
        started = await self._operations.start(current_principal(), new)
        self._worker.wake()
        return convert.to_proto(started)

    async def GetBulkOperation(
        self, request: bulk_service_pb2.GetBulkOperationRequest, context: Context
    ) -> bulk_service_pb2.BulkOperation:
        """Tell how far an operation is."""
        operation_id = UUID(request.bulk_operation_id)
        found = await self._operations.get(current_principal().tenant, operation_id)
        return convert.to_proto(found)

    async def ListBulkOperations(
        self, request: bulk_service_pb2.ListBulkOperationsRequest, context: Context
    ) -> bulk_service_pb2.ListBulkOperationsResponse:
        """List operations."""
        tenant = current_principal().tenant
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant)
        page = await self._operations.page(tenant, wanted)
        return bulk_service_pb2.ListBulkOperationsResponse(
            operations=[convert.to_proto(each) for each in page.items],
            next_page_token=page.next_page_token,
        )

    async def StopBulkOperation(
        self, request: bulk_service_pb2.StopBulkOperationRequest, context: Context
    ) -> bulk_service_pb2.BulkOperation:
        """Stop an operation."""
        operation_id = UUID(request.bulk_operation_id)
        stopped = await self._operations.stop(current_principal().tenant, operation_id)
        return convert.to_proto(stopped)
