"""Alarms of an event loop."""

from __future__ import annotations

import asyncio

from meshkit.interceptors.alarms import TICK, Alarms
from tests.waiting import until


async def test_alarms_ring_in_their_time_unless_they_are_called_off() -> None:
    def ring(name: str) -> None:
        rung.append((name, loop.time()))

    rung: list[tuple[str, float]] = []
    loop, alarms = asyncio.get_running_loop(), Alarms()
    at = loop.time() + 5 * TICK

    def one() -> None:
        ring("one")

    def two() -> None:
        ring("two")

    def off() -> None:
        ring("off")

    alarms.set(two, at + 2 * TICK)
    alarms.set(one, at)
    alarms.call_off(off, alarms.set(off, at))
    await until(lambda: len(rung) == 2)
    assert [name for name, _ in rung] == ["one", "two"]
    assert rung[0][1] >= at
