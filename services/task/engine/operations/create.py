"""Creating tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from meshkit.errors import DomainError
from services.task.domain.budgets import DEEPEST, BudgetState
from services.task.domain.limits import Limit
from services.task.domain.policy import Dependency, LimitStrategy
from services.task.domain.states import EventType, TaskState
from services.task.domain.task import NewTask, Task, TaskError
from services.task.engine.changes import Changes
from services.task.engine.consequences import EnterQueue, MakeRoom
from services.task.engine.follow import DEPENDENCY_FAILED, is_met
from services.task.engine.needs import Needs
from services.task.engine.steps import end, offer
from services.task.errors import (
    BudgetExceeded,
    ConcurrencyLimitReached,
    RelatedTaskNotFound,
    RequestIdReused,
    TaskStateConflict,
)


class Creation(NamedTuple):
    """One task to be made.

    Attributes:
        task_id: Its id, if it is made.
        lane: Of the lane that it is to wait in.
    """

    task_id: UUID
    tenant: str
    creator: str
    lane: int
    new: NewTask


@dataclass(frozen=True, slots=True)
class Repeated:
    """The request had made this task before."""

    task_id: UUID


Created = Task | Repeated | DomainError
"""What became of one creation."""


@dataclass(frozen=True, slots=True)
class CreateTasks:
    """Makes tasks, each by itself: one that is refused does not keep the others out."""

    creations: Sequence[Creation]

    def need(self, needs: Needs) -> None:
        """Ask for repeats, parents, budgets, dependencies and limits."""
        for each in self.creations:
            new = each.new
            if needs.again:
                needs.tasks.add(each.task_id)
            if new.request_id:
                needs.requests.append((each.tenant, each.task_id, new))
            if new.parent_id is not None:
                needs.tasks.add(new.parent_id)
                needs.budgets_of.add(new.parent_id)
            needs.tasks.update(dependency.task_id for dependency in new.policy.dependencies)
            if new.policy.limit_keys:
                needs.limits.update((each.tenant, key) for key in new.policy.limit_keys)
                needs.new_limits = True

    def apply(self, changes: Changes) -> list[Created]:
        """Make those that are in order; return a task, a repeat or a refusal for each."""
        return [self._one(changes, each) for each in self.creations]

    def _one(self, changes: Changes, creation: Creation) -> Created:
        request = (creation.tenant, creation.new.request_id)
        if changes.again and changes.find(creation.tenant, creation.task_id) is not None:
            return Repeated(creation.task_id)
        if creation.new.request_id and creation.task_id not in changes.fresh:
            if request not in changes.withdrawn:
                return _repeated(changes, creation)
            changes.withdrawn.discard(request)
            changes.taken_over[request] = (creation.task_id, creation.new.digest)
        try:
            return _create(changes, creation)
        except DomainError as refusal:
            if creation.new.request_id:
                changes.withdrawn.add(request)
                changes.taken_over.pop(request, None)
            return refusal


def _repeated(changes: Changes, creation: Creation) -> Repeated | DomainError:
    request = (creation.tenant, creation.new.request_id)
    task_id, digest = changes.taken_over.get(request) or changes.requests[request]
    if digest != creation.new.digest:
        return RequestIdReused(str(task_id))
    return Repeated(task_id)


def _create(changes: Changes, creation: Creation) -> Task:
    new = creation.new
    parent = _parent(changes, creation)
    awaited = [_found(changes, creation, each) for each in new.policy.dependencies]
    budget = _budget(changes, parent)
    _check_limits(changes, creation)
    changes.use_blob(creation.tenant, new.input_blob)
    task = _task(changes, creation, parent)
    changes.add(task)
    if parent is not None and not parent.has_children:
        parent.has_children = True
        changes.touch(parent)
    if budget is not None:
        budget.tasks += 1
        changes.touched_budgets.add(task.root)
    elif new.policy.budget is not None:
        changes.budgets[task.id] = BudgetState(new.policy.budget, tasks=1)
        changes.touched_budgets.add(task.id)
    _join_limits(changes, task)
    _begin(changes, task, list(zip(new.policy.dependencies, awaited, strict=True)))
    return task


def _task(changes: Changes, creation: Creation, parent: Task | None) -> Task:
    task_id, tenant, creator, lane, new = creation
    return Task(
        task_id,
        tenant,
        new.capability,
        TaskState.SCHEDULED,
        new.priority,
        lane,
        attempt=0,
        max_attempts=new.max_attempts,
        epoch=0,
        creator=creator,
        create_time=changes.now,
        ready_time=_ready_time(changes.now, new),
        last_sequence=0,
        input=new.input,
        input_payload=new.input_payload,
        labels=new.labels,
        attributes=new.attributes,
        policy=new.policy,
        parent_id=new.parent_id,
        root_id=None if parent is None else parent.root,
        depth=0 if parent is None else parent.depth + 1,
        replay_of=new.replay_of,
    )


def _begin(changes: Changes, task: Task, awaited: list[tuple[Dependency, Task]]) -> None:
    open_ones = [each for each, other in awaited if not other.is_done]
    met = [is_met(each.condition, other.state) for each, other in awaited if other.is_done]
    any_of = task.policy.needs_any
    task.awaits = 0 if any_of and any(met) else len(open_ones)
    for _, other in awaited:
        if not other.is_done and not other.has_dependents:
            other.has_dependents = True
            changes.touch(other)
    changes.new_dependencies.extend((task.id, each) for each, _ in awaited)
    changes.new_waits.extend((task.id, each) for each in open_ones)
    hopeless = (awaited and not open_ones and not any(met)) if any_of else not all(met)
    if task.ready_time <= changes.now and not task.awaits and not hopeless:
        task.state = TaskState.QUEUED
    changes.record(task, EventType.CREATED)
    if hopeless:
        task.error = TaskError(DEPENDENCY_FAILED, "A task that this one waits for ended otherwise.")
        end(changes, task, TaskState.CANCELLED)
    elif task.state is TaskState.QUEUED:
        _enter(changes, task)
    else:
        changes.scheduled = True


def _enter(changes: Changes, task: Task) -> None:
    if task.policy.limit_keys:
        changes.follow(EnterQueue(task))
    else:
        offer(changes, task)


def _ready_time(now: datetime, new: NewTask) -> datetime:
    if new.schedule_time is not None:
        return max(new.schedule_time, now)
    return now + timedelta(seconds=new.delay) if new.delay else now


def _parent(changes: Changes, creation: Creation) -> Task | None:
    if creation.new.parent_id is None:
        return None
    parent = changes.find(creation.tenant, creation.new.parent_id)
    if parent is None:
        raise RelatedTaskNotFound("task.parent_id")
    if parent.is_done or parent.cancel_request_time is not None:
        raise TaskStateConflict("The parent has ended; it can't have new children.")
    if parent.depth >= DEEPEST:
        raise BudgetExceeded("max_depth", f"Children are at most {DEEPEST} levels deep.")
    return parent


def _found(changes: Changes, creation: Creation, dependency: Dependency) -> Task:
    other = changes.find(creation.tenant, dependency.task_id)
    if other is None:
        raise RelatedTaskNotFound("task.dependencies")
    return other


def _budget(changes: Changes, parent: Task | None) -> BudgetState | None:
    if parent is None:
        return None
    budget = changes.budgets.get(parent.root)
    if budget is None:
        return None
    if bound := budget.refusal(parent.depth + 1):
        raise BudgetExceeded(bound, f"The root task's budget allows no further task: {bound}.")
    return budget


def _check_limits(changes: Changes, creation: Creation) -> None:
    for limit in creation.new.policy.concurrency_limits:
        known = changes.limits.get((creation.tenant, limit.key))
        reached = known is not None and known.members >= limit.limit
        if reached and limit.strategy is LimitStrategy.REJECT_NEWEST:
            raise ConcurrencyLimitReached(limit.key, limit.limit)


def _join_limits(changes: Changes, task: Task) -> None:
    for key in sorted(task.policy.limit_keys):
        place = (task.tenant, key)
        limit = changes.limits.setdefault(place, Limit(task.tenant, key))
        limit.define(task.policy)
        cancels = limit.strategy is LimitStrategy.CANCEL_OLDEST
        if limit.places is not None and cancels and limit.members >= limit.places:
            changes.follow(MakeRoom(*place, limit.members - limit.places + 1))
        limit.members += 1
        changes.joined.append((*place, task.id))
        changes.touched_limits.add(place)
