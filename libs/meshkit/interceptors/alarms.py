"""Times at which something is to happen unless it is called off, as it mostly is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TICK: Final = 0.01
"""An alarm may ring so many seconds late, and never early."""

Ring = Callable[[], None]
"""Called when the time has come; hashable, for the alarm is called off by it."""


class Alarms:
    """Rings alarms of one event loop.

    All alarms of a tick share one timer of the loop, for a timer that is hardly ever
    to go off costs more than the little that most calls do.
    """

    def __init__(self) -> None:
        self._rings: dict[int, set[Ring]] = {}

    def set(self, ring: Ring, at: float) -> int:
        """Have it rung at that time of the loop; return the tick by which to call it off."""
        tick = int(at / TICK) + 1
        rings = self._rings.get(tick)
        if rings is None:
            rings = self._rings[tick] = set()
            asyncio.get_running_loop().call_at(tick * TICK, self._ring_all, tick)
        rings.add(ring)
        return tick

    def call_off(self, ring: Ring, tick: int) -> None:
        """Not ring it, unless it has rung."""
        rings = self._rings.get(tick)
        if rings is not None:
            rings.discard(ring)

    def _ring_all(self, tick: int) -> None:
        for ring in self._rings.pop(tick):
            ring()
