"""The steps of a task's life, as changes of the working set.

Each holds itself against the table of transitions, adds to the task's history,
and brings about what follows: seats and limits given back, dependents settled,
children cancelled.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from services.task.domain.limits import units_of
from services.task.domain.states import (
    EVENT_OF_END,
    EventType,
    TaskState,
    check_transition,
)
from services.task.domain.task import Task, TaskError
from services.task.engine.changes import Changes, Seat
from services.task.engine.consequences import (
    CancelChildren,
    EnterQueue,
    LeaveLimits,
    SettleDependents,
)


def make_ready(changes: Changes, task: Task, why: EventType) -> None:
    """Queue a task, and start it at once if an agent is free for it and none is before it."""
    if task.state is not TaskState.QUEUED:
        check_transition(task.state, TaskState.QUEUED)
        task.state = TaskState.QUEUED
    task.ready_time = changes.now
    changes.record(task, why)
    if task.policy.limit_keys:
        changes.follow(EnterQueue(task))
    else:
        offer(changes, task)


def offer(changes: Changes, task: Task) -> None:
    """Start a queued task that nothing blocks if an agent is free for it; else leave it waiting."""
    seat = changes.seats.take_for_new(task)
    if seat is None:
        changes.lanes.add(task.lane)
        changes.seats.queued(task.lane)
    else:
        start(changes, task, seat)


def start(changes: Changes, task: Task, seat: Seat) -> None:
    """Lease a queued task to the agent of a seat."""
    untouched = task.id not in changes.created and task.id not in changes.changed
    check_transition(task.state, TaskState.RUNNING)
    task.state = TaskState.RUNNING
    task.attempt += 1
    task.epoch += 1
    task.agent_id = seat.agent.id
    task.agent_name = seat.agent.name
    task.progress = None
    task.start_time = task.seen_time = changes.now
    task.lease_time = changes.now + timedelta(seconds=changes.lease)
    for key in task.policy.limit_keys:
        _take(changes, task, key)
    changes.record(task, EventType.STARTED)
    if untouched:
        changes.only_started.add(task.id)
    changes.started.append((seat, task))


def _take(changes: Changes, task: Task, key: str) -> None:
    limit = changes.limits[task.tenant, key]
    limit.take(changes.now, units_of(task.policy, key))
    changes.touched_limits.add((task.tenant, key))


def fail_attempt(
    changes: Changes,
    task: Task,
    error: TaskError,
    *,
    retryable: bool,
    delay: float,
) -> None:
    """End the running attempt; queue the task for another after `delay` seconds, or give it up."""
    task.error = error
    if task.cancel_request_time is not None:
        end(changes, task, TaskState.CANCELLED)
    elif not retryable or error.type in task.policy.retry.non_retryable_types:
        end(changes, task, TaskState.FAILED)
    elif task.attempt >= task.max_attempts:
        end(changes, task, TaskState.DEAD_LETTERED)
    else:
        leave_agent(changes, task)
        if delay > 0:
            check_transition(task.state, TaskState.SCHEDULED)
            task.state = TaskState.SCHEDULED
            task.ready_time = changes.now + timedelta(seconds=delay)
            changes.record(task, EventType.RETRYING)
        else:
            make_ready(changes, task, EventType.RETRYING)


def postpone(changes: Changes, task: Task, until: datetime) -> None:
    """Have a task that is queued or scheduled not start before a time."""
    if task.state is TaskState.QUEUED:
        if until <= changes.now:
            return
        check_transition(task.state, TaskState.SCHEDULED)
        if task.blocked_by is not None:
            behind, task.blocked_by = task.blocked_by, None
            changes.follow(LeaveLimits(task, ran=False, ended=False, behind=behind))
        task.state = TaskState.SCHEDULED
    task.ready_time = until
    changes.scheduled = True


def release(changes: Changes, task: Task) -> None:
    """Queue a running task again as if this attempt had not been."""
    if task.cancel_request_time is not None:
        end(changes, task, TaskState.CANCELLED)
        return
    leave_agent(changes, task)
    task.attempt -= 1
    make_ready(changes, task, EventType.RELEASED)


def pause(changes: Changes, task: Task, question: bytes) -> None:
    """Take a running task from its agent until it is answered."""
    if task.cancel_request_time is not None:
        end(changes, task, TaskState.CANCELLED)
        return
    leave_agent(changes, task)
    check_transition(task.state, TaskState.PAUSED)
    task.state = TaskState.PAUSED
    task.pause = question
    changes.record(task, EventType.PAUSED, data=question)


def take_away(changes: Changes, task: Task) -> None:
    """Take a running task's lease from its agent, who is told: later reports are refused."""
    changes.lost.append(task.lease)
    changes.seats.vacate(task.lease)
    task.epoch += 1


def cancel(changes: Changes, task: Task, grace: float) -> None:
    """Call a task off; the agent of a running one has `grace` seconds to stop it in order."""
    if task.state is not TaskState.RUNNING:
        end(changes, task, TaskState.CANCELLED, grace=grace)
        return
    if grace <= 0:
        take_away(changes, task)
        end(changes, task, TaskState.CANCELLED, grace=grace)
        return
    by = changes.now + timedelta(seconds=grace)
    if task.cancel_by is not None and task.cancel_by <= by:
        return
    task.cancel_by = by
    task.cancel_request_time = task.cancel_request_time or changes.now
    changes.to_stop.append((task.lease, grace))
    changes.record(task, EventType.CANCEL_REQUESTED)
    if task.has_children:
        changes.follow(CancelChildren(task.id, grace))


def end(changes: Changes, task: Task, state: TaskState, *, grace: float | None = None) -> None:
    """Bring a task to a terminal state; `error` and `result` are set by now.

    One that has succeeded has no error, whatever came before. Of any other all under it is
    called off, within `grace` seconds if they are given.
    """
    check_transition(task.state, state)
    leave_agent(changes, task, ended=True)
    task.state = state
    if state is TaskState.SUCCEEDED:
        task.error = None
    task.blocked_by = None
    task.pause = None
    task.end_time = changes.now
    changes.record(task, EVENT_OF_END[state])
    if task.has_dependents:
        changes.follow(SettleDependents(task))
    if task.has_children and state is not TaskState.SUCCEEDED:
        changes.follow(CancelChildren(task.id, changes.grace if grace is None else grace))


def leave_agent(changes: Changes, task: Task, *, ended: bool = False) -> None:
    """Give back what the task held: its seat, its places under limits, its place behind one."""
    ran = task.state is TaskState.RUNNING
    if ran:
        changes.seats.vacate(task.lease)
        task.lease_time = task.seen_time = task.cancel_by = task.cancel_request_time = None
    if task.policy.limit_keys and (ran or ended):
        changes.follow(LeaveLimits(task, ran=ran, ended=ended, behind=task.blocked_by))
