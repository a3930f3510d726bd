"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from uuid import UUID

IdSource = Callable[[], UUID]
"""Makes a new id at each call; a test may pass its own."""

_RANDOM_BITS = 74


def uuid7() -> UUID:
    """Make a UUIDv7: 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS)
    random_a, random_b = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (random_a << 64) | (2 << 62) | random_b)
