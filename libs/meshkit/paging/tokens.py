"""Page tokens: cursors, encoded, and bound to their query by a digest.

The digest keeps a token from going astray, not from being forged: what a token holds
is input, and checked as such.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from google.protobuf.message import DecodeError

from mesh.common.v1 import page_pb2
from meshkit.errors import InvalidArgument
from meshkit.filtering.fields import Kind

SortValue: TypeAlias = str | int | float | bool | datetime | UUID | None
"""What a row has in a field that pages go by."""

_MEMBERS: Final[Mapping[Kind, str]] = {
    Kind.STRING: "text",
    Kind.ENUM: "text",
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.TIME: "time",
    Kind.UUID: "uuid",
}

SORTABLE_KINDS: Final = frozenset(_MEMBERS)
"""The kinds of fields that pages can go by."""


def encode_cursor(cursor: page_pb2.PageCursor, query: Sequence[str]) -> str:
    """Write the token that brings a cursor to the next request of the query."""
    bound = page_pb2.PageCursor(query_digest=_digest(query))
    bound.MergeFrom(cursor)
    return base64.urlsafe_b64encode(bound.SerializeToString()).decode().rstrip("=")


def decode_cursor(token: str, query: Sequence[str]) -> page_pb2.PageCursor:
    """Read a token.

    Raises:
        InvalidArgument: It was not issued for this query.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        cursor = page_pb2.PageCursor.FromString(base64.b64decode(padded, "-_", validate=True))
    except (binascii.Error, DecodeError, ValueError) as error:
        raise token_invalid() from error
    if cursor.query_digest != _digest(query):
        raise token_invalid()
    return cursor


def encode_value(kind: Kind, value: SortValue) -> page_pb2.CursorValue:
    """Write the value that a row has in a field of this kind; None is written as nothing."""
    written = page_pb2.CursorValue()
    match value:
        case None:
            pass
        case datetime():
            written.time.FromDatetime(value)
        case UUID():
            written.uuid = value.bytes
        case _:
            setattr(written, _MEMBERS[kind], value)
    return written


def decode_value(kind: Kind, written: page_pb2.CursorValue) -> SortValue:
    """Read a value back.

    Raises:
        InvalidArgument: It is not of this kind.
    """
    member = written.WhichOneof("value")
    if member is None:
        return None
    if member != _MEMBERS[kind]:
        raise token_invalid()
    try:
        return _decoded(written, member)
    except ValueError as error:
        raise token_invalid() from error


def token_invalid() -> InvalidArgument:
    """Make the error of a token that was not issued for the query it came with."""
    return InvalidArgument(
        "The page token was not issued for this query; leave it out to start anew.",
        reason="INVALID_PAGE_TOKEN",
        field="page_token",
    )


def _decoded(written: page_pb2.CursorValue, member: str) -> SortValue:
    if member == "time":
        return written.time.ToDatetime(UTC)
    if member == "uuid":
        return UUID(bytes=written.uuid)
    value: SortValue = getattr(written, member)
    return value


def _digest(query: Sequence[str]) -> bytes:
    return hashlib.sha256(json.dumps(list(query)).encode()).digest()[:8]
