"""Load that comes by the clock, whatever became of what came before; and its quantiles."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

MILLISECONDS = 1000.0


async def timed(rate: float, seconds: float, *actions: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Start each action `rate` times a second, spaced evenly, and time all to their ends.

    Returns for each action the seconds from when it was due to its end, so that a late start
    counts, too.
    """
    begun = time.monotonic() + 0.1
    running: list[list[asyncio.Task[float]]] = [[] for _ in actions]
    for number in range(int(rate * seconds) * len(actions)):
        due = begun + number / (rate * len(actions))
        await asyncio.sleep(due - time.monotonic())
        which = number % len(actions)
        running[which].append(asyncio.create_task(_since(due, actions[which])))
    return [await asyncio.gather(*tasks) for tasks in running]


async def _since(due: float, action: Callable[[], Awaitable[Any]]) -> float:
    await action()
    return time.monotonic() - due


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return the value, in milliseconds, below which that share of the measured lies."""
    return (
        statistics.quantiles(seconds, n=1000, method="inclusive")[round(share * 1000) - 1]
        * MILLISECONDS
    )


def row(name: str, seconds: Sequence[float]) -> list[str]:
    """Return a row of a table: how many there were, and their quantiles."""
    figures = quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds) * MILLISECONDS
    return [name, f"{len(seconds):,}", *(f"{each:.2f}" for each in figures)]


HEADER = ["milliseconds", "count", "p50", "p99", "most"]
