"""A batch of operations, carried out in one transaction; and what is told of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from meshkit.errors import DomainError
from meshkit.failpoints import failpoint
from services.task.domain.task import Task
from services.task.engine.changes import Changes
from services.task.engine.follow import blocking, hold_back, let_others_through
from services.task.engine.needs import Needs
from services.task.engine.operations.operation import Operation
from services.task.engine.plan import Plan
from services.task.engine.seating import Seating
from services.task.engine.steps import start
from services.task.engine.transaction import load, save, settle
from services.task.store import loading, writing

_CLAIM_ROUNDS = 3
_CLAIM_AT_A_TIME = 500

Outcome = object
"""What an operation returned, or the DomainError that it raised."""

CHANGED: Final = "task_changed"
"""Channel on which `<task id>/<sequence of its last event>` are notified, at the commit."""

QUEUED: Final = "task_queued"
"""Channel on which the ids of lanes that got tasks are notified."""

LOST: Final = "lease_lost"
"""Channel on which `<task id> <epoch>` of leases that were taken away are notified."""

STOP: Final = "stop_asked"
"""Channel on which `<task id> <epoch> <grace>` of tasks to be stopped are notified."""

SCHEDULED: Final = "task_scheduled"
"""Channel that is notified when a task got a time to start at."""

STEERED: Final = "task_steered"
"""Channel that is notified when a pause or a build routing came, changed or went."""

_MOST_PAYLOAD = 7900


async def carry_out(
    connection: Any, operations: Sequence[Operation], changes: Changes, seating: Seating
) -> list[Outcome]:
    """Do all operations, then give queued tasks to free seats; return what each came to.

    To be called in a transaction; what it changes in `seating` stands only if that commits.
    """
    needs = Needs(again=bool(changes.again))
    for operation in operations:
        operation.need(needs)
    await load(connection, needs, changes)
    outcomes = [_apply(operation, changes) for operation in operations]
    await settle(connection, changes)
    await save(connection, changes)
    failpoint("batch.saved")
    await _claim(connection, changes, seating)
    await _load_given(connection, changes)
    await _load_results(connection, changes)
    notices = _notices(changes)
    if notices:
        changes.xid = await writing.notify(connection, notices)
    return outcomes


def _apply(operation: Operation, changes: Changes) -> Outcome:
    try:
        return operation.apply(changes)
    except DomainError as refusal:
        return refusal


async def _claim(connection: Any, changes: Changes, seating: Seating) -> None:
    """Lease queued tasks to free seats, until either is used up."""
    for _ in range(_CLAIM_ROUNDS):
        plan = seating.plan(_CLAIM_AT_A_TIME)
        if not plan.wanted:
            break
        tasks = await _claimed(connection, changes, plan)
        await _load_limits(connection, changes, tasks)
        for task in tasks:
            _seat(changes, plan, task)
        seating.finish(plan)
        await settle(connection, changes)
        await save(connection, changes)


async def _claimed(connection: Any, changes: Changes, plan: Plan) -> list[Task]:
    """Lock the tasks that a plan asks for; those that are remembered are not read."""
    remembered = changes.remembered
    if not remembered.serves_claims:
        tasks = changes.known_whole(await loading.claim(connection, plan.claims()))
        remembered.learn_of_claim([task.id for task in tasks])
        return tasks
    versions = await loading.claim_versions(connection, plan.claims())
    # This transaction may have made some itself.
    unknown = [task_id for task_id in changes.recall(versions) if task_id not in changes.whole]
    if unknown:
        changes.known_whole(await loading.read_locked(connection, unknown))
        remembered.serves_claims = 2 * len(unknown) <= len(versions)
    return [changes.live[task_id] for task_id, _ in versions if task_id in changes.live]


def _seat(changes: Changes, plan: Plan, task: Task) -> None:
    if plan.late and plan.is_early(task, changes.now):
        plan.pass_over(task)
        return
    limit = blocking(changes, task) if task.policy.limit_keys else None
    if limit is not None:
        hold_back(changes, task, limit)
        let_others_through(changes, task)
        plan.pass_over(task)
        return
    seat = plan.seat_for(task)
    if seat is not None:
        start(changes, task, seat)


async def _load_given(connection: Any, changes: Changes) -> None:
    """Read what callers gave for tasks that went to a seat without having been claimed."""
    started = {task.id: task for _, task in changes.started if task.id not in changes.whole}
    if started:
        await loading.add_what_was_given(connection, started)


async def _load_results(connection: Any, changes: Changes) -> None:
    waited = [task.id for _, task in changes.started if task.policy.dependencies]
    if waited:
        changes.results = await loading.dependency_results(connection, waited)


async def _load_limits(connection: Any, changes: Changes, tasks: Sequence[Task]) -> None:
    needs = Needs()
    for task in tasks:
        needs.limits.update((task.tenant, key) for key in task.policy.limit_keys)
    if needs.limits:
        await load(connection, needs, changes)


def _notices(changes: Changes) -> list[tuple[str, str]]:
    notices = _split(QUEUED, [str(lane) for lane in changes.lanes])
    notices += _split(LOST, [f"{lease.task_id} {lease.epoch}" for lease in changes.lost])
    stops = [f"{lease.task_id} {lease.epoch} {grace}" for lease, grace in changes.to_stop]
    notices += _split(STOP, stops)
    if changes.scheduled:
        notices.append((SCHEDULED, ""))
    if changes.steered:
        notices.append((STEERED, ""))
    last = {event[0]: event[3] for event in changes.recorded}
    return notices + _split(
        CHANGED, [f"{task_id}/{sequence}" for task_id, sequence in last.items()]
    )


def _split(channel: str, items: Sequence[str]) -> list[tuple[str, str]]:
    """Join items into payloads that a notification can carry."""
    notices: list[tuple[str, str]] = []
    payload: list[str] = []
    size = 0
    for item in items:
        if payload and size + len(item) + 1 > _MOST_PAYLOAD:
            notices.append((channel, ",".join(payload)))
            payload, size = [], 0
        payload.append(item)
        size += len(item) + 1
    if payload:
        notices.append((channel, ",".join(payload)))
    return notices
