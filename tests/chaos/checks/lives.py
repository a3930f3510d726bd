"""The history of each task by itself: only steps that there are, in order, without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.chaos.checks.events import ENDS, Ended, Event
from tests.chaos.work import FATAL

_LIVE: Final = ("scheduled", "queued", "running", "paused")

# Event, the states before it, the states after it, and what it does to the number of attempts.
_STEPS: Final = {
    "created": (("",), ("scheduled", "queued"), 0),
    "queued": (("scheduled",), ("queued",), 0),
    "started": (("queued",), ("running",), 1),
    "progressed": (("running",), ("running",), 0),
    "output": (("running",), ("running",), 0),
    "cancel_requested": (("running",), ("running",), 0),
    "retrying": (("running",), ("queued", "scheduled"), 0),
    "released": (("running",), ("queued",), -1),
    "paused": (("running",), ("paused",), 0),
    "resumed": (("paused",), ("queued",), -1),
    "updated": (_LIVE, _LIVE, 0),
    "succeeded": (("running",), ("succeeded",), 0),
    "dead_lettered": (("running",), ("dead_lettered",), 0),
    "failed": (_LIVE, ("failed",), 0),
    "cancelled": (_LIVE, ("cancelled",), 0),
}
# What may still happen to a task whose cancellation was asked for.
_WINDING_DOWN: Final = ENDS | {"progressed", "output", "updated", "cancel_requested"}


def wrong_life(events: Sequence[Event], stored: Ended | None) -> str:
    """Return what is wrong with a task's history; empty if nothing is.

    Args:
        events: All of it, in order.
        stored: The task as it is stored now; None if it has not ended.
    """
    before, stopping = None, False
    for event in events:
        wrong = _wrong_step(before, event)
        if not wrong and stopping and event.type not in _WINDING_DOWN:
            wrong = f"{event.type} after a cancellation was asked for"
        if wrong:
            return wrong
        before, stopping = event, stopping or event.type == "cancel_requested"
    return _differs(before, stored)


def _wrong_step(before: Event | None, event: Event) -> str:
    state, attempt, epoch, sequence = (
        (before.state, before.attempt, before.epoch, before.sequence) if before else ("", 0, 0, 0)
    )
    sources, targets, step = _STEPS[event.type]
    if event.sequence != sequence + 1:
        return f"a gap before {event.sequence}"
    if state not in sources or event.state not in targets or event.attempt != attempt + step:
        now = f"{event.state}, attempt {event.attempt}"
        return f"{event.type} from {state}, attempt {attempt} to {now}"
    if event.epoch - epoch not in ((1,) if event.type == "started" else (0, 1)):
        return f"epoch {epoch} to {event.epoch} by {event.type}"
    if event.type == "retrying" and event.error == FATAL:
        return f"another attempt after {FATAL}"
    return ""


def _differs(last: Event | None, stored: Ended | None) -> str:
    if last is None:
        return "it has no history"
    if stored is None:
        return "it has ended, and its task is not there" if last.state in ENDS else ""
    if stored.attempt > stored.max_attempts:
        return f"{stored.attempt} attempts, where {stored.max_attempts} are allowed"
    kept = (stored.state, stored.attempt, stored.epoch, stored.last_sequence)
    told = (last.state, last.attempt, last.epoch, last.sequence)
    return "" if kept == told else f"stored {kept}, told {told}"
