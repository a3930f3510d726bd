"""The events of tasks, as the log holds them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

ENDS: Final = frozenset({"succeeded", "failed", "cancelled", "dead_lettered"})
"""The terminal states, and the events that bring a task there."""


class Event(NamedTuple):
    """One change of a task.

    Attributes:
        position: Its place in the log of all tasks.
        sequence: Its place in the history of its task.
        state: The state after it.
        error: Type of the error that it came with, if any.
    """

    position: int
    task: UUID
    sequence: int
    type: str
    state: str
    attempt: int
    epoch: int
    time: datetime
    error: str | None


class Ended(NamedTuple):
    """A task that has ended, as it is stored."""

    state: str
    attempt: int
    max_attempts: int
    epoch: int
    last_sequence: int
    parent: UUID | None


class Life(NamedTuple):
    """What others may have to do with in a task's history.

    Attributes:
        starts: The events by which its attempts started.
        end: The event that ended it; None if there is none.
        state: The state in which it ended, or is.
    """

    starts: tuple[Event, ...]
    end: Event | None
    state: str


def life_of(events: Iterable[Event]) -> Life:
    """Return the life that events of one task tell, in their order."""
    starts, end, state = [], None, ""
    for event in events:
        state = event.state
        if event.type == "started":
            starts.append(event)
        elif event.type in ENDS:
            end = event
    return Life(tuple(starts), end, state)
