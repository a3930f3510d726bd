"""Watches of many tasks, from messages; and their offsets, which callers pass back unread."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from uuid import UUID

from mesh.task.v1 import task_service_pb2
from meshkit.errors import InvalidArgument
from services.task.domain.filters import read_filter
from services.task.watches import Watch

OFFSET_KEY: Final = "agentmesh-offset"
"""Key of the initial metadata that tell where a watch begins."""

_VERSION: Final = b"\x01"
_SIZE: Final = 8


def watch_from_proto(request: task_service_pb2.WatchTasksRequest, tenant: str) -> Watch:
    """Decode what is to be watched.

    Raises:
        InvalidArgument: The filter or the offset can't be read.
    """
    return Watch(
        tenant,
        read_filter(request.filter),
        UUID(request.root_id) if request.root_id else None,
        _position_of(request.after_offset) if request.after_offset else None,
    )


def offset_of(position: int) -> str:
    """Write the offset of an event at this position."""
    return base64.urlsafe_b64encode(_VERSION + position.to_bytes(_SIZE, "big")).decode()


def _position_of(offset: str) -> int:
    try:
        decoded = base64.b64decode(offset, "-_", validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    position = int.from_bytes(decoded[1:], "big")
    if decoded[:1] != _VERSION or len(decoded) != _SIZE + 1 or position >= 2**63:
        raise InvalidArgument(
            "This is no offset of an event; leave it out to watch from now on.",
            field="after_offset",
        )
    return position
