"""What comes of a change in the same transaction, once more has been read; as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.task.domain.task import Task


@dataclass(frozen=True, slots=True)
class EnterQueue:
    """A task is ready: it is queued, or waits behind a limit."""

    task: Task


@dataclass(frozen=True, slots=True)
class LeaveLimits:
    """A task no longer runs, or has ended, which makes room under its limits.

    Attributes:
        behind: Key of the limit that it waited behind.
    """

    task: Task
    ran: bool
    ended: bool
    behind: str | None


@dataclass(frozen=True, slots=True)
class LetThrough:
    """A limit may have room for tasks that wait behind it."""

    tenant: str
    key: str


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """The oldest tasks of a limit, `count` at most, are cancelled in favour of a new one."""

    tenant: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class PauseLimit:
    """No task of a limit starts for so many seconds."""

    tenant: str
    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HoldLimit:
    """No task of a limit starts before `until`, whatever was said of it; None opens it."""

    tenant: str
    key: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class SettleDependents:
    """A task has ended, and others waited for it."""

    task: Task


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Tasks are called off because of what happened to others; `grace` in seconds."""

    ids: tuple[UUID, ...]
    grace: float


@dataclass(frozen=True, slots=True)
class CancelChildren:
    """A task has ended without success, or is to; all under it are called off."""

    task_id: UUID
    grace: float


Consequence = (
    EnterQueue
    | LeaveLimits
    | LetThrough
    | MakeRoom
    | PauseLimit
    | HoldLimit
    | SettleDependents
    | CancelTasks
    | CancelChildren
)
