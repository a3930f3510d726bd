"""Bulk operations: one thing done to many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from meshkit.filtering import And, Comparison, Filter, Not, Operator, Or
from services.task.domain.states import TERMINAL, TaskState


class BulkAction(StrEnum):
    """What is done."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPLAY = "replay"


class BulkState(StrEnum):
    """Where an operation is in its life."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


APPLIES_TO: Final[Mapping[BulkAction, tuple[TaskState, ...]]] = {
    BulkAction.CANCEL: tuple(state for state in TaskState if state not in TERMINAL),
    BulkAction.RETRY: (TaskState.SCHEDULED, TaskState.FAILED, TaskState.DEAD_LETTERED),
    BulkAction.REPLAY: tuple(state for state in TaskState if state in TERMINAL),
}
"""The states of the tasks that an action is for."""

# A task that waits for its first attempt is not to be run again.
_TRIED_OR_ENDED: Final = Or(
    (
        Not(Comparison("state", Operator.EQ, TaskState.SCHEDULED.value)),
        Comparison("attempt", Operator.GT, 0),
    )
)


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """An operation, as it is stored.

    Attributes:
        filter: As its caller wrote it.
        cursor: Time of creation and id of the last task that was looked at.
        step: The tasks that it is being done to, or is about to be.
        create_time: Tasks created later are left alone.
    """

    id: UUID
    tenant: str
    action: BulkAction
    filter: str
    state: BulkState
    done: int
    refused: int
    total: int
    cursor: tuple[datetime, UUID] | None
    step: tuple[UUID, ...]
    creator: str
    create_time: datetime
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class NewBulkOperation:
    """What a caller wants done.

    Attributes:
        digest: Of all the caller sent, to tell a repeat from another operation.
    """

    action: BulkAction
    filter: str
    request_id: str
    digest: bytes


def selected(action: BulkAction, wanted: Filter | None) -> Filter | None:
    """Confine a filter to the tasks that an action is for, as far as their states don't tell."""
    if action is not BulkAction.RETRY:
        return wanted
    return _TRIED_OR_ENDED if wanted is None else And((wanted, _TRIED_OR_ENDED))
