"""What an agent says of a task that it holds, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from services.task.domain.task import NOTHING, Lease, Progress, TaskError, Usage

LEASE_LOST: Final = "LEASE_LOST"
"""Reason of a refused report: somebody else may have the task by now."""


class Completed(NamedTuple):
    """The task is done; `result` is a serialized Value, `payload` a serialized Payload.

    `blob` is the one that the payload names, if it names one.
    """

    result: bytes
    payload: bytes | None = None
    blob: UUID | None = None
    usage: Usage = NOTHING


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; another may succeed if `retryable`.

    Attributes:
        retry_after: Seconds to wait before another, as the cause asked for.
        pause_key: Key of a limit that pauses for so long.
    """

    error: TaskError
    retryable: bool
    retry_after: float | None = None
    pause_key: str = ""
    usage: Usage = NOTHING


@dataclass(frozen=True, slots=True)
class Released:
    """The agent gives the task back; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output."""

    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life of the handler; `checkpoint` is a serialized Value for the next attempt."""

    checkpoint: bytes | None
    usage: Usage = NOTHING


@dataclass(frozen=True, slots=True)
class Paused:
    """The task waits for an answer; `pause` is a serialized TaskPause."""

    pause: bytes


@dataclass(frozen=True, slots=True)
class Stopped:
    """The agent has stopped the task, as was asked."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The report makes no sense; `problem` says why, in words."""

    problem: str


Outcome = Progress | Completed | Failed | Released | Output | Alive | Paused | Stopped | Malformed
"""What an agent reports of a task."""

ENDS: Final = (Completed, Failed, Released, Paused, Stopped)
"""The outcomes after which the agent no longer holds the task."""


class Receipt(NamedTuple):
    """Whether a report counts; if not, `reason` says why, and `message` in words."""

    lease: Lease
    accepted: bool
    reason: str = ""
    message: str = ""
