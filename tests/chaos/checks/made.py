"""Histories made up, for the checks to judge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.checks.events import Ended, Event

A, B, C = (UUID(int=number) for number in (1, 2, 3))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

# What an event leaves behind: the state, and by how much attempt and epoch grow.
AFTER = {
    "created": ("queued", 0, 0),
    "started": ("running", 1, 1),
    "cancel_requested": ("running", 0, 0),
    "retrying": ("queued", 0, 0),
    "released": ("queued", -1, 0),
    "paused": ("paused", 0, 0),
    "resumed": ("queued", -1, 0),
    "succeeded": ("succeeded", 0, 0),
    "failed": ("failed", 0, 0),
    "cancelled": ("cancelled", 0, 0),
}


def history(*types: str, task: UUID = A, at: int = 0) -> list[Event]:
    """Return the events of a task that did these steps, at positions from `at`."""
    events: list[Event] = []
    attempt = epoch = 0
    for number, type_ in enumerate(types, start=1):
        state, more, later = AFTER[type_]
        attempt, epoch = attempt + more, epoch + later
        time = BEGIN + timedelta(seconds=at + number)
        events.append(Event(at + number, task, number, type_, state, attempt, epoch, time, None))
    return events


def ended(events: Sequence[Event], **other: Any) -> Ended:
    """Return how a task of this history is stored."""
    last = events[-1]
    stored = Ended(last.state, last.attempt, 3, last.epoch, last.sequence, None)
    return stored._replace(**other)
