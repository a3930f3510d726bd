"""Tasks that were leased in a transaction of which nobody knows whether it was committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.task.domain.states import TaskState
from services.task.domain.task import Lease
from services.task.engine.changes import Changes
from services.task.engine.needs import Needs
from services.task.engine.steps import release


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an attempt, at a time of which no other transaction of this replica is."""

    lease: Lease
    time: datetime


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Queues tasks again whose agents were never told of them, if they were leased at all."""

    starts: Sequence[Start]

    def need(self, needs: Needs) -> None:
        """Ask for the tasks."""
        needs.tasks.update(start.lease.task_id for start in self.starts)

    def apply(self, changes: Changes) -> None:
        """Queue those that run since just then."""
        for start in self.starts:
            task = changes.live.get(start.lease.task_id)
            if (
                task is not None
                and task.state is TaskState.RUNNING
                and (task.lease, task.start_time) == (start.lease, start.time)
            ):
                release(changes, task)
