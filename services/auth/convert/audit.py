"""Between the messages of the audit log and its domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mesh.auth.v1 import audit_pb2
from meshkit.audit.record import Decision, Record
from meshkit.errors import InvalidArgument
from meshkit.timestamps import from_timestamp, to_timestamp
from services.auth.domain.audit import Checkpoint, Link

_TO_PROTO: Final = {
    Decision.ALLOWED: audit_pb2.AuditRecord.DECISION_ALLOWED,
    Decision.DENIED: audit_pb2.AuditRecord.DECISION_DENIED,
}
_FROM_PROTO: Final = {value: decision for decision, value in _TO_PROTO.items()}


def records_from_proto(messages: Sequence[audit_pb2.AuditRecord]) -> list[Record]:
    """Decode records that a service sends.

    Raises:
        InvalidArgument: One lacks its time or decision.
    """
    return [_record(message, f"records[{index}]") for index, message in enumerate(messages)]


def _record(message: audit_pb2.AuditRecord, path: str) -> Record:
    time = from_timestamp(message, "time", path=f"{path}.time")
    if time is None:
        raise InvalidArgument("Say when it was decided.", field=f"{path}.time")
    decision = _FROM_PROTO.get(message.decision)
    if decision is None:
        raise InvalidArgument("Say what was decided.", field=f"{path}.decision")
    return Record(
        id=UUID(message.id),
        tenant=message.tenant,
        time=time,
        subject=message.subject,
        actor=message.actor,
        method=message.method,
        resource=message.resource,
        decision=decision,
        reason=message.reason,
        request_id=message.request_id,
        address=message.address,
        service=message.service,
    )


def link_to_proto(link: Link) -> audit_pb2.AuditRecord:
    """Encode a record in its place."""
    record = link.record
    return audit_pb2.AuditRecord(
        id=str(record.id),
        tenant=record.tenant,
        time=to_timestamp(record.time),
        subject=record.subject,
        actor=record.actor,
        method=record.method,
        resource=record.resource,
        decision=_TO_PROTO[record.decision],
        reason=record.reason,
        request_id=record.request_id,
        address=record.address,
        service=record.service,
        sequence=link.sequence,
        hash=link.hash,
    )


def checkpoint_to_proto(checkpoint: Checkpoint) -> audit_pb2.AuditCheckpoint:
    """Encode a checkpoint."""
    return audit_pb2.AuditCheckpoint(
        tenant=checkpoint.tenant,
        sequence=checkpoint.sequence,
        hash=checkpoint.hash,
        time=to_timestamp(checkpoint.time),
        key_id=checkpoint.key_id,
        signature=checkpoint.signature,
    )
