"""Limits: no more tasks of a key at a time, and no more starts in a time, than were allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tests.chaos.checks.events import Event

_TOLERANCE: Final = 0.001
_STEP_BACK: Final = timedelta(seconds=0.5)

Places = Mapping[UUID, Mapping[str, int]]
"""For each task with concurrency limits, how many may run at a time, by key."""

Rates = Mapping[UUID, Mapping[str, tuple[int, float, int]]]
"""For each task with rate limits, by key: units, seconds of the period, units of the task."""


def too_many_at_a_time(events: Iterable[Event], places: Places) -> Iterator[str]:
    """Yield where a key had more tasks running than its limit; events in the log's order."""
    running: dict[str, set[UUID]] = {}
    for event in events:
        for key, most in places.get(event.task, {}).items():
            now = running.setdefault(key, set())
            if event.state == "running":
                now.add(event.task)
            else:
                now.discard(event.task)
            if event.type == "started" and len(now) > most:
                yield f"{len(now)} tasks of {key} at {event.position}, where {most} are allowed"


def too_many_in_a_time(events: Iterable[Event], rates: Rates) -> Iterator[str]:
    """Yield where a key had more starts in a time than its rate; events in the log's order.

    A bucket of each key refills evenly, by the clock that the events tell. One that was
    set back begins with a full bucket.
    """
    full: dict[str, datetime] = {}
    latest: dict[str, datetime] = {}
    for event in events:
        if event.type != "started":
            continue
        for key, (limit, period, units) in rates.get(event.task, {}).items():
            now = event.time
            if latest.get(key, now) - now > _STEP_BACK:
                full.pop(key, None)
            latest[key] = now
            interval = period / limit
            filled = max(full.get(key, now), now) + timedelta(seconds=units * interval)
            if (filled - now).total_seconds() > period + _TOLERANCE:
                yield f"a start of {key} at {event.position} beyond {limit} in {period} s"
            full[key] = filled
