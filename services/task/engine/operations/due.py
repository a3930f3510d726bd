"""What time brings: starts, deadlines, lapsed leases, and limits that open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.task.domain.retries import Backoff
from services.task.domain.states import EventType, TaskState
from services.task.domain.task import LEASE_EXPIRED, Task, TaskError, after
from services.task.engine.changes import Changes
from services.task.engine.consequences import LetThrough
from services.task.engine.needs import Needs
from services.task.engine.steps import end, fail_attempt, make_ready, take_away

_SILENT: Final = TaskError(LEASE_EXPIRED, "The agent went silent and its lease ran out.")
_ATTEMPT: Final = TaskError("AttemptTimeout", "The attempt took longer than its deadline.")
_HEARTBEAT: Final = TaskError("HeartbeatTimeout", "The handler gave no sign of life in time.")
_TOTAL: Final = TaskError("TotalTimeout", "The task took longer than its total deadline.")
_QUEUE: Final = TaskError("QueueTimeout", "No agent took the task in time.")
_EXPIRED: Final = TaskError("Expired", "The task's expire_time came before an agent did.")


@dataclass(frozen=True, slots=True)
class LookAtDue:
    """Looks at tasks and limits whose time has come, up to `most` of each.

    Safe on several replicas at once: each is looked at by one.
    """

    most: int
    backoff: Backoff

    def need(self, needs: Needs) -> None:
        """Ask for what is due."""
        needs.due = max(needs.due, self.most)
        needs.due_limits = max(needs.due_limits, self.most)

    def apply(self, changes: Changes) -> int:
        """Do what it is time for; return how much there was."""
        for tenant, key in changes.due_limits:
            changes.follow(LetThrough(tenant, key))
        due = changes.known(changes.due)
        for task in due:
            self._look_at(changes, task)
        return len(due) + len(changes.due_limits)

    def _look_at(self, changes: Changes, task: Task) -> None:
        now, deadlines = changes.now, task.policy.deadlines
        total = after(task.create_time, deadlines.total)
        if total is not None and total <= now:
            self._give_up(changes, task, _TOTAL)
        elif task.state is TaskState.RUNNING:
            self._look_at_running(changes, task)
        elif task.policy.expire_time is not None and task.policy.expire_time <= now:
            self._give_up(changes, task, _EXPIRED)
        elif task.state is TaskState.SCHEDULED and not task.awaits and task.ready_time <= now:
            make_ready(changes, task, EventType.QUEUED)
        elif task.state is TaskState.QUEUED and _passed(changes, task.ready_time, deadlines.queue):
            self._give_up(changes, task, _QUEUE)
        else:
            changes.touch(task)

    def _look_at_running(self, changes: Changes, task: Task) -> None:
        now, deadlines = changes.now, task.policy.deadlines
        if task.cancel_by is not None and task.cancel_by <= now:
            take_away(changes, task)
            end(changes, task, TaskState.CANCELLED)
        elif task.lease_time is not None and task.lease_time <= now:
            self._fail(changes, task, _SILENT)
        elif _passed(changes, task.start_time, deadlines.attempt):
            self._fail(changes, task, _ATTEMPT)
        elif _passed(changes, task.seen_time, deadlines.heartbeat):
            self._fail(changes, task, _HEARTBEAT)
        else:
            changes.touch(task)

    def _fail(self, changes: Changes, task: Task, error: TaskError) -> None:
        take_away(changes, task)
        # A silent agent says nothing about the task: another may have it at once.
        silent = error is _SILENT
        delay = 0.0 if silent else self.backoff.delay(task.policy.retry, task.attempt)
        fail_attempt(changes, task, error, retryable=True, delay=delay)

    def _give_up(self, changes: Changes, task: Task, error: TaskError) -> None:
        if task.state is TaskState.RUNNING:
            take_away(changes, task)
        task.error = error
        end(changes, task, TaskState.FAILED)


def _passed(changes: Changes, since: object, seconds: float | None) -> bool:
    if seconds is None or since is None:
        return False
    limit = after(since, seconds)  # type: ignore[arg-type] # a datetime, once it isn't None
    return limit is not None and limit <= changes.now
