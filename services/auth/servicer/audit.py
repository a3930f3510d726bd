"""Serves `mesh.auth.v1.AuditService`: the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mesh.auth.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc
from meshkit.filtering import parse
from meshkit.interceptors.chain import Context
from meshkit.paging import keyset
from meshkit.security.principal import current_principal
from services.auth.convert import audit as convert
from services.auth.usecases.audit import (
    FIELDS,
    LATEST_CHECKPOINT_FIRST,
    LATEST_FIRST,
    AuditLog,
)


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Serves `mesh.auth.v1.AuditService`."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._log = audit_log

    async def RecordAudit(
        self, request: audit_service_pb2.RecordAuditRequest, context: Context
    ) -> audit_service_pb2.RecordAuditResponse:
        """Store decisions that a service has made."""
        records = convert.records_from_proto(request.records)
        await self._log.record(current_principal(), records)
        return audit_service_pb2.RecordAuditResponse()

    async def ListAuditRecords(
        self, request: audit_service_pb2.ListAuditRecordsRequest, context: Context
    ) -> audit_service_pb2.ListAuditRecordsResponse:
        """List the tenant's records, the latest first."""
        tenant = current_principal().tenant
        wanted = parse(request.filter, FIELDS)
        page = keyset(request.page_size, request.page_token, LATEST_FIRST, tenant, request.filter)
        found = await self._log.list(tenant, wanted, page)
        return audit_service_pb2.ListAuditRecordsResponse(
            audit_records=[convert.link_to_proto(link) for link in found.items],
            next_page_token=found.next_page_token,
        )

    async def ExportAuditRecords(
        self, request: audit_service_pb2.ExportAuditRecordsRequest, context: Context
    ) -> AsyncIterator[audit_pb2.AuditRecord]:
        """Stream the tenant's records in the order of the chain."""
        tenant = current_principal().tenant
        async for link in self._log.export(tenant, request.after_sequence):
            yield convert.link_to_proto(link)

    async def ListAuditCheckpoints(
        self, request: audit_service_pb2.ListAuditCheckpointsRequest, context: Context
    ) -> audit_service_pb2.ListAuditCheckpointsResponse:
        """List the checkpoints of the tenant's chain, the latest first."""
        tenant = current_principal().tenant
        wanted = keyset(request.page_size, request.page_token, LATEST_CHECKPOINT_FIRST, tenant)
        page = await self._log.list_checkpoints(tenant, wanted)
        return audit_service_pb2.ListAuditCheckpointsResponse(
            audit_checkpoints=[convert.checkpoint_to_proto(each) for each in page.items],
            next_page_token=page.next_page_token,
        )
