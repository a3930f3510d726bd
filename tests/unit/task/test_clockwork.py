"""The clockwork has an eye on the clock that it goes by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from services.task.clockwork import Clockwork
from services.task.domain.retries import Backoff

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_WRITER = cast("Any", None)


class Clock:
    """Tells these times, one after the other, and that nothing is due."""

    def __init__(self, *seconds: float) -> None:
        self._times: Iterator[float] = iter(seconds)
        self.brought_near = 0

    async def next_due(self) -> tuple[datetime | None, datetime]:
        return None, NOW + timedelta(seconds=next(self._times))

    async def bring_near(self) -> int:
        self.brought_near += 1
        return 1


@pytest.mark.parametrize(
    ("seconds", "times"),
    [
        ((0, 0, 0, 0), 0),
        ((0, 3600, 3600, 3600), 0),
        ((0, -0.5, -0.5, -0.5), 0),
        ((0, -3600, -3600, -3600), 1),
        ((0, -3600, -7200, -7200), 1),
        ((0, -3600, -3600, -7200, -7200), 2),
    ],
)
async def test_a_clock_that_is_set_back_has_things_brought_near_once(
    seconds: tuple[float, ...], times: int
) -> None:
    clock = Clock(*seconds)
    clockwork = Clockwork(
        NO_WRITER,
        clock.next_due,
        Backoff(1.0, 1.0),
        interval=1.0,
        bring_near=clock.bring_near,
        lease=0.0,
    )
    for _ in seconds:
        assert await clockwork.look() == 1.0
    assert clock.brought_near == times


async def test_agents_have_a_leases_length_to_renew_what_they_hold() -> None:
    clock = Clock(0, -3600, -3600)
    clockwork = Clockwork(
        NO_WRITER,
        clock.next_due,
        Backoff(1.0, 1.0),
        interval=1.0,
        bring_near=clock.bring_near,
        lease=30.0,
    )
    for _ in range(3):
        await clockwork.look()
    assert clock.brought_near == 0
