"""Between the messages of the audit log and its domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mesh.auth.v1 import audit_pb2
from meshkit.audit.record import Decision, Record
from meshkit.audit.sink import record_to_proto
from meshkit.errors import InvalidArgument
from meshkit.timestamps import from_timestamp, to_timestamp
from services.auth.domain.audit import Checkpoint, Link

_DECISIONS: Final = {
    audit_pb2.AuditRecord.DECISION_ALLOWED: Decision.ALLOWED,
    audit_pb2.AuditRecord.DECISION_DENIED: Decision.DENIED,
}


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
    decision = _DECISIONS.get(message.decision)
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
    message = record_to_proto(link.record)
    message.sequence, message.hash = link.sequence, link.hash
    return message


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
