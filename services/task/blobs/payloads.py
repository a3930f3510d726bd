"""The blobs that stored payloads name."""

from __future__ import annotations

from uuid import UUID

from mesh.task.v1 import payload_pb2


def blob_named(payload: bytes | None) -> UUID | None:
    """Return the blob that a serialized Payload names, if it names one."""
    if payload is None:
        return None
    blob_id = payload_pb2.Payload.FromString(payload).blob_id
    return UUID(blob_id) if blob_id else None
