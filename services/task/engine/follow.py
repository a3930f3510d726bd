"""Brings about the consequences of changes: what each needs to have read, and then changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.task.domain.limits import Limit, units_of
from services.task.domain.policy import DependencyCondition
from services.task.domain.states import EventType, TaskState
from services.task.domain.task import Task, TaskError
from services.task.engine.changes import Changes
from services.task.engine.consequences import (
    CancelChildren,
    CancelTasks,
    Consequence,
    EnterQueue,
    HoldLimit,
    LeaveLimits,
    LetThrough,
    MakeRoom,
    PauseLimit,
    SettleDependents,
)
from services.task.engine.needs import Needs
from services.task.engine.steps import cancel, end, make_ready, offer

DEPENDENCY_FAILED: Final = "DependencyFailed"

_FAILED: Final = (TaskState.FAILED, TaskState.DEAD_LETTERED)


def need(consequence: Consequence, needs: Needs) -> None:  # noqa: C901 - a case for each kind
    """Say what must have been read before a consequence is brought about."""
    match consequence:
        case EnterQueue(task) | LeaveLimits(task):
            needs.limits.update((task.tenant, key) for key in task.policy.limit_keys)
        case LetThrough(tenant, key):
            needs.limits.add((tenant, key))
            needs.waiting.add((tenant, key))
        case MakeRoom(tenant, key, count):
            needs.members[tenant, key] = max(count, needs.members.get((tenant, key), 0))
        case PauseLimit(tenant, key) | HoldLimit(tenant, key, None):
            needs.limits.add((tenant, key))
        case HoldLimit(tenant, key):
            needs.limits.add((tenant, key))
            needs.new_limits = True
        case SettleDependents(task):
            needs.dependents.add(task.id)
        case CancelTasks(ids):
            needs.tasks.update(ids)
        case CancelChildren(task_id):
            needs.trees.add(task_id)


def bring_about(consequence: Consequence, changes: Changes) -> None:  # noqa: C901 - a case for each kind
    """Change what a consequence changes."""
    match consequence:
        case EnterQueue(task):
            enter_queue(changes, task)
        case LeaveLimits():
            _leave_limits(changes, consequence)
        case LetThrough(tenant, key):
            _let_through(changes, changes.limits.get((tenant, key)))
        case MakeRoom(tenant, key):
            _make_room(changes, changes.limits[tenant, key])
        case PauseLimit(tenant, key, seconds):
            _pause_limit(changes, changes.limits.get((tenant, key)), seconds)
        case HoldLimit(tenant, key, until):
            _hold_limit(changes, changes.limits.get((tenant, key)), until)
        case SettleDependents(task):
            _settle(changes, task)
        case CancelTasks(ids, grace):
            for task_id in ids:
                if (found := changes.live.get(task_id)) is not None:
                    cancel(changes, found, grace)
        case CancelChildren(task_id, grace):
            changes.follow(CancelTasks(tuple(changes.children.get(task_id, ())), grace))


def blocking(changes: Changes, task: Task) -> Limit | None:
    """Return the limit that keeps a task from starting now, if one does."""
    for key in sorted(task.policy.limit_keys):
        limit = changes.limits[task.tenant, key]
        if not limit.is_open(changes.now, units_of(task.policy, key)):
            return limit
    return None


def hold_back(changes: Changes, task: Task, limit: Limit) -> None:
    """Have a queued task wait behind a limit."""
    place = (limit.tenant, limit.key)
    task.blocked_by = limit.key
    limit.wait(units_of(task.policy, limit.key))
    changes.held_back.setdefault(place, {})[task.id] = task
    changes.touched_limits.add(place)
    changes.touch(task)


def enter_queue(changes: Changes, task: Task) -> None:
    """Offer a queued task to agents, unless a limit is closed or others wait behind it."""
    if task.state is not TaskState.QUEUED:
        return
    limit = blocking(changes, task) or _crowded(changes, task)
    if limit is None:
        for key in task.policy.limit_keys:
            changes.limits[task.tenant, key].turn = task.lane
        offer(changes, task)
    else:
        hold_back(changes, task, limit)


def _crowded(changes: Changes, task: Task) -> Limit | None:
    limits = (changes.limits[task.tenant, key] for key in sorted(task.policy.limit_keys))
    return next((limit for limit in limits if limit.waiting), None)


def _leave_limits(changes: Changes, leaving: LeaveLimits) -> None:
    task = leaving.task
    for key in task.policy.limit_keys:
        limit = changes.limits.get((task.tenant, key))
        if limit is None:
            continue
        if leaving.ran:
            limit.give_back()
        if leaving.behind == key:
            _let_go(changes, limit)
        if leaving.ended:
            limit.members = max(limit.members - 1, 0)
            changes.left.append((task.tenant, key, task.id))
        changes.touched_limits.add((task.tenant, key))
        if limit.waiting:
            changes.follow(LetThrough(task.tenant, key))


def _let_through(changes: Changes, limit: Limit | None) -> None:
    if limit is None:
        return
    place = (limit.tenant, limit.key)
    stored = changes.waiting.pop(place, None)
    if stored is None:
        # Another consequence has led here in the same round.
        return
    changes.touched_limits.add(place)
    # Those that this transaction holds back are not stored yet.
    known = {task.id: task for task in changes.known(stored)} | changes.held_back.get(place, {})
    waiting = [task for task in known.values() if task.blocked_by == limit.key and not task.is_done]
    places, units = limit.free_places(changes.now), limit.free_units(changes.now)
    limit.next_units = 1
    for task in waiting[:places]:
        needed = limit.needed(units_of(task.policy, limit.key))
        if needed > units:
            limit.next_units = needed
            return
        units -= needed
        task.blocked_by = None
        _let_go(changes, limit)
        limit.turn = task.lane
        changes.touch(task)
        changes.lanes.add(task.lane)
        changes.seats.queued(task.lane)


def _let_go(changes: Changes, limit: Limit) -> None:
    limit.let_go()
    place = (limit.tenant, limit.key)
    changes.let_go[place] = changes.let_go.get(place, 0) + 1


def let_others_through(changes: Changes, task: Task) -> None:
    """Have others take what a task leaves open that one of its limits keeps from starting."""
    for key in task.policy.limit_keys:
        if key != task.blocked_by and changes.limits[task.tenant, key].waiting:
            changes.follow(LetThrough(task.tenant, key))


def _make_room(changes: Changes, limit: Limit) -> None:
    """Cancel the oldest members beyond the limit, those that are only being made included."""
    if limit.places is None:
        return
    place = (limit.tenant, limit.key)
    members = [*changes.members.get(place, ())]
    members += [task_id for tenant, key, task_id in changes.joined if (tenant, key) == place]
    alive = [task_id for task_id in members if task_id not in changes.ended]
    beyond = limit.members - _leaving(changes, limit) - limit.places
    if beyond > 0:
        changes.follow(CancelTasks(tuple(alive[:beyond]), 0.0))


def _leaving(changes: Changes, limit: Limit) -> int:
    """Return how many members have ended and are still counted."""
    left = {task_id for _, key, task_id in changes.left if key == limit.key}
    return sum(
        task.tenant == limit.tenant and limit.key in task.policy.limit_keys and task.id not in left
        for task in changes.ended.values()
    )


def _pause_limit(changes: Changes, limit: Limit | None, seconds: float) -> None:
    if limit is None:
        return
    until = changes.now + timedelta(seconds=seconds)
    if limit.paused_until is None or limit.paused_until < until:
        limit.paused_until = until
        changes.touched_limits.add((limit.tenant, limit.key))


def _hold_limit(changes: Changes, limit: Limit | None, until: datetime | None) -> None:
    if limit is None:
        return
    limit.paused_until = until
    changes.touched_limits.add((limit.tenant, limit.key))
    if until is None and limit.waiting:
        changes.follow(LetThrough(limit.tenant, limit.key))


def _settle(changes: Changes, ended: Task) -> None:
    for task_id, condition in changes.dependents.get(ended.id, ()):
        if (task := changes.live.get(task_id)) is not None:
            settle_one(changes, task, ended, condition)


def settle_one(changes: Changes, task: Task, ended: Task, condition: DependencyCondition) -> None:
    """Note that a task which another waited for has ended."""
    if task.state is not TaskState.SCHEDULED or not task.awaits:
        return
    task.awaits -= 1
    if not is_met(condition, ended.state):
        if not (task.policy.needs_any and task.awaits):
            task.error = TaskError(
                DEPENDENCY_FAILED, f"Task {ended.id}, which this one waited for, {ended.state}."
            )
            end(changes, task, TaskState.CANCELLED)
            return
    elif task.policy.needs_any:
        task.awaits = 0
    if task.awaits == 0 and task.ready_time <= changes.now:
        make_ready(changes, task, EventType.QUEUED)
    else:
        changes.touch(task)


def is_met(condition: DependencyCondition, state: TaskState) -> bool:
    """Tell whether a task that has ended so is what another waited for."""
    match condition:
        case DependencyCondition.SUCCEEDED:
            return state is TaskState.SUCCEEDED
        case DependencyCondition.FAILED:
            return state in _FAILED
        case DependencyCondition.ENDED:
            return True
