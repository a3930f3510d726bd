"""Sends records to the auth service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grpc import aio

from mesh.auth.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc
from meshkit.audit.record import Decision, Record
from meshkit.statuses import from_rpc_error
from meshkit.timestamps import to_timestamp

_DECISIONS: Final = {
    Decision.ALLOWED: audit_pb2.AuditRecord.DECISION_ALLOWED,
    Decision.DENIED: audit_pb2.AuditRecord.DECISION_DENIED,
}


class AuthSink:
    """Stores records by AuditService.RecordAudit, called as the service itself."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def store(self, records: Sequence[Record]) -> None:
        """Store records, those with a known id not again.

        Raises:
            DomainError: Auth refuses them or can't be reached.
        """
        request = audit_service_pb2.RecordAuditRequest(records=map(record_to_proto, records))
        try:
            await self._stub.RecordAudit(request)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def record_to_proto(record: Record) -> audit_pb2.AuditRecord:
    """Encode a record that has no place in a chain yet."""
    return audit_pb2.AuditRecord(
        id=str(record.id),
        tenant=record.tenant,
        time=to_timestamp(record.time),
        subject=record.subject,
        actor=record.actor,
        method=record.method,
        resource=record.resource,
        decision=_DECISIONS[record.decision],
        reason=record.reason,
        request_id=record.request_id,
        address=record.address,
        service=record.service,
    )
