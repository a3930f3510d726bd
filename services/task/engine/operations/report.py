"""What agents say of the tasks they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from services.task.domain.reports import (
    LEASE_LOST,
    Alive,
    Completed,
    Failed,
    Outcome,
    Output,
    Paused,
    Receipt,
    Released,
    Stopped,
)
from services.task.domain.retries import Backoff
from services.task.domain.states import EventType, TaskState
from services.task.domain.task import Lease, Progress, Task, TaskError, Usage
from services.task.engine.changes import Changes
from services.task.engine.consequences import PauseLimit
from services.task.engine.needs import Needs
from services.task.engine.steps import end, fail_attempt, pause, release, take_away

BUDGET_EXCEEDED: Final = "BudgetExceeded"


@dataclass(frozen=True, slots=True)
class Report:
    """Records what became of tasks of one agent.

    A report on a lease that is lost is refused. One that ends an attempt and comes
    again is accepted again, without effect.
    """

    tenant: str
    agent_id: UUID
    outcomes: Sequence[tuple[Lease, Outcome]]
    backoff: Backoff

    def need(self, needs: Needs) -> None:
        """Ask for the tasks, and for the budgets of what they have used."""
        for lease, outcome in self.outcomes:
            needs.tasks.add(lease.task_id)
            if isinstance(outcome, Alive | Completed | Failed) and outcome.usage:
                needs.budgets_of.add(lease.task_id)

    def apply(self, changes: Changes) -> list[Receipt]:
        """Record each that counts; return a receipt for each."""
        return [self._one(changes, lease, outcome) for lease, outcome in self.outcomes]

    def _one(self, changes: Changes, lease: Lease, outcome: Outcome) -> Receipt:
        task = changes.find(self.tenant, lease.task_id)
        if task is None or task.agent_id != self.agent_id or task.epoch != lease.epoch:
            return Receipt(lease, accepted=False, reason=LEASE_LOST)
        if task.state is not TaskState.RUNNING:
            repeated = _is_repeat(task, outcome)
            return Receipt(lease, repeated, "" if repeated else LEASE_LOST)
        if task.seen_time not in changes.again:
            self._take(changes, task, outcome)
        return Receipt(lease, accepted=True)

    def _take(  # noqa: C901 - a case for each kind
        self, changes: Changes, task: Task, outcome: Outcome
    ) -> None:
        task.seen_time = changes.now
        match outcome:
            case Completed(result, payload, blob, usage):
                changes.use_blob(task.tenant, blob)
                task.result, task.result_payload = result, payload
                end(changes, task, TaskState.SUCCEEDED)
                _charge(changes, task, usage)
            case Failed():
                self._fail(changes, task, outcome)
            case Progress():
                task.progress = outcome
                changes.record(task, EventType.PROGRESSED)
            case Output(content_type, data):
                changes.record(task, EventType.OUTPUT, content_type=content_type, data=data)
            case Alive(checkpoint, usage):
                if checkpoint is not None:
                    task.checkpoint = checkpoint
                changes.touch(task)
                _charge(changes, task, usage)
            case Released():
                release(changes, task)
            case Paused(question):
                pause(changes, task, question)
            case Stopped():
                release(changes, task)

    def _fail(self, changes: Changes, task: Task, failed: Failed) -> None:
        delay = self.backoff.delay(task.policy.retry, task.attempt)
        if failed.retry_after is not None:
            delay = max(delay, failed.retry_after)
            if failed.pause_key in task.policy.limit_keys:
                changes.follow(PauseLimit(task.tenant, failed.pause_key, failed.retry_after))
        fail_attempt(changes, task, failed.error, retryable=failed.retryable, delay=delay)
        _charge(changes, task, failed.usage)


def _charge(changes: Changes, task: Task, usage: Usage) -> None:
    """Count what a task has used; it fails at once if that is too much, unless it has ended."""
    if not usage:
        return
    task.tokens += usage.tokens
    task.cost += usage.cost
    budget = changes.budgets.get(task.root)
    if budget is None:
        return
    budget.charge(usage)
    changes.touched_budgets.add(task.root)
    exceeded = budget.exceeded()
    if not exceeded or task.is_done:
        return
    if task.state is TaskState.RUNNING:
        take_away(changes, task)
    task.error = TaskError(BUDGET_EXCEEDED, f"The root task's budget is exceeded: {exceeded}.")
    end(changes, task, TaskState.FAILED)


@dataclass(frozen=True, slots=True)
class Renewed:
    """Which leases are still held, and which of those are to be stopped within how many seconds."""

    held: frozenset[Lease]
    to_stop: Mapping[Lease, float]


@dataclass(frozen=True, slots=True)
class Renew:
    """Prolongs the leases that an agent still holds."""

    tenant: str
    agent_id: UUID
    leases: Sequence[Lease]

    def need(self, needs: Needs) -> None:
        """Ask for the tasks."""
        needs.tasks.update(lease.task_id for lease in self.leases)

    def apply(self, changes: Changes) -> Renewed:
        """Prolong them."""
        held: set[Lease] = set()
        to_stop: dict[Lease, float] = {}
        for lease in self.leases:
            task = changes.live.get(lease.task_id)
            if task is None or not self._holds(task, lease):
                continue
            task.lease_time = changes.now + timedelta(seconds=changes.lease)
            changes.touch(task)
            held.add(lease)
            if task.cancel_by is not None:
                to_stop[lease] = max((task.cancel_by - changes.now).total_seconds(), 0.0)
        return Renewed(frozenset(held), to_stop)

    def _holds(self, task: Task, lease: Lease) -> bool:
        return (
            task.tenant == self.tenant
            and task.agent_id == self.agent_id
            and task.epoch == lease.epoch
            and task.state is TaskState.RUNNING
        )


def _is_repeat(task: Task, outcome: Outcome) -> bool:
    """Tell whether `outcome` is what brought the task, at this epoch, to where it is."""
    waits = task.state in (TaskState.QUEUED, TaskState.SCHEDULED)
    match outcome:
        case Completed():
            return task.state is TaskState.SUCCEEDED
        case Failed(error):
            # One that was given back keeps the error of an earlier attempt.
            return task.error == error and (waits or task.is_done)
        case Released():
            return waits
        case Paused():
            return task.state is TaskState.PAUSED
        case Stopped():
            return task.state is TaskState.CANCELLED or waits
        case _:
            return False
