"""Between datetimes and protobuf timestamps; an unset one is None."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """Encode a moment; None stays None, which a message's constructor leaves unset."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def from_timestamp(message: Message, field: str) -> datetime | None:
    """Decode a timestamp field of `message` as a moment in UTC; None if it is unset."""
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    return timestamp.ToDatetime(UTC)
