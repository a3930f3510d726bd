"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from asyncpg.pgproto import pgproto

IdSource = Callable[[], UUID]
"""Makes a new id at each call; a test may pass its own."""

read_uuid: Final[Callable[[str], UUID]] = pgproto.UUID
"""Reads a UUID; it is a UUID like any other, made in a tenth of the time."""

_MAKE: Final[Callable[[bytes], UUID]] = pgproto.UUID
_RANDOM_MASK: Final = (1 << 62) - 1
_VERSION_AND_VARIANT: Final = (7 << 76) | (2 << 62)
_AT_A_TIME: Final = 512


class _Ids:
    """Makes ids, each greater than the one before it."""

    def __init__(self) -> None:
        self._last = 0
        self._random: Iterator[tuple[int]] = iter(())

    def next(self) -> UUID:
        """Make one: milliseconds, their 4096ths (method 3 of RFC 9562, 6.2), 62 random bits."""
        stamp = max((time.time_ns() << 12) // 1_000_000, self._last + 1)
        self._last = stamp
        random = self._draw() & _RANDOM_MASK
        number = (stamp >> 12 << 80) | ((stamp & 0xFFF) << 64) | _VERSION_AND_VARIANT | random
        return _MAKE(number.to_bytes(16, "big"))

    def _draw(self) -> int:
        for (drawn,) in self._random:
            return drawn
        # The operating system is asked for many at once: a call of it costs more than all the rest.
        self._random = struct.iter_unpack("Q", os.urandom(8 * _AT_A_TIME))
        return self._draw()


uuid7: Final[IdSource] = _Ids().next
"""Makes a UUIDv7, greater than each that this process made before it."""
