"""Between datetimes and protobuf timestamps; an unset one is None."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from meshkit.errors import InvalidArgument

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """Encode a moment; None stays None, which a message's constructor leaves unset."""
    if moment is None:
        return None
    # What Timestamp.FromDatetime does by way of the calendar takes seven times as long.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def from_timestamp(message: Message, field: str, *, path: str | None = None) -> datetime | None:
    """Decode a timestamp field of `message` as a moment in UTC; None if it is unset.

    Raises:
        InvalidArgument: It lies outside the years 1 to 9999. The error blames `path`,
            the field as the caller of an RPC knows it, or else `field`.
    """
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    try:
        return timestamp.ToDatetime(UTC)
    except ValueError as error:
        raise InvalidArgument(
            "There is no such time; send one of the years 1 to 9999.", field=path or field
        ) from error


def set_time(timestamp: Timestamp, moment: datetime) -> None:
    """Set a timestamp, in place, to a moment."""
    since = moment - _EPOCH
    timestamp.seconds = since.days * 86_400 + since.seconds
    timestamp.nanos = since.microseconds * 1000
