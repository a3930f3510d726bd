"""Ids that sort by the time they were made, as the mesh's own do."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Of its own, so that a program that seeds the module's generator does not repeat its ids.
_source: Final = random.SystemRandom()


def new_id() -> str:
    """Make a UUIDv7: the time in milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    bits = _source.getrandbits(74)
    return (
        f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{bits & 0xFFF:03x}"
        f"-{0x8000 | bits >> 12 & 0x3FFF:04x}-{bits >> 26:012x}"
    )


def time_of(identifier: str) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond."""
    milliseconds = int(identifier[:8] + identifier[9:13], 16)
    return _EPOCH + timedelta(milliseconds=milliseconds)
