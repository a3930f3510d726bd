"""One transaction of the engine: read what is needed, change it in memory, write the changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any
from uuid import UUID

from meshkit.events import outbox
from services.task.announcements import task_finished
from services.task.blobs import uses
from services.task.blobs.errors import BlobNotFound
from services.task.domain.limits import Limit
from services.task.domain.task import Task
from services.task.engine import follow
from services.task.engine.changes import Changes
from services.task.engine.needs import Needs
from services.task.store import loading, relations, steering, terms, writing

_MOST_DESCENDANTS = 100_000
_MOST_LET_THROUGH = 500

Write = Callable[[Any, list[Any]], Awaitable[None]]
"""Writes changes of one kind, all in one statement."""


async def load(  # noqa: C901 - a branch for each kind of need
    connection: Any, needs: Needs, changes: Changes
) -> None:
    """Read what is needed and not known yet, and lock it."""
    if needs.requests:
        await _load_requests(connection, needs, changes)
    if needs.due:
        changes.due = await loading.lock_due(connection, changes.now, needs.due)
    if needs.due_limits:
        found = await loading.due_limits(connection, changes.now, needs.due_limits)
        changes.due_limits = found
        needs.limits.update(found)
    if needs.dependents:
        for ended, task_id, condition in await loading.find_dependents(
            connection, needs.dependents
        ):
            changes.dependents.setdefault(ended, []).append((task_id, condition))
            needs.tasks.add(task_id)
        # One that had ended before in this transaction has been counted.
        for task_id, dependency in changes.new_waits:
            if dependency.task_id in needs.dependents:
                waits = (task_id, dependency.condition)
                changes.dependents.setdefault(dependency.task_id, []).append(waits)
    for task_id in needs.trees:
        stored = await loading.find_descendants(connection, [task_id], _MOST_DESCENDANTS)
        changes.children[task_id] = [*stored, *_new_descendants(changes, {task_id, *stored})]
    await _load_tasks(connection, needs, changes)
    await _load_limits(connection, needs, changes)
    await _load_budgets(connection, needs, changes)
    if needs.pauses:
        for pause in await steering.lock_pauses(connection, needs.pauses):
            changes.pauses[pause.id] = pause


def _new_descendants(changes: Changes, above: set[UUID]) -> list[UUID]:
    """Return the tasks below these that this transaction makes."""
    found = []
    for task in changes.created.values():
        if task.parent_id in above:
            above.add(task.id)
            found.append(task.id)
    return found


async def _load_requests(connection: Any, needs: Needs, changes: Changes) -> None:
    wanted = [
        (tenant, new.request_id, task_id, new.digest) for tenant, task_id, new in needs.requests
    ]
    changes.fresh |= await relations.take_requests(connection, wanted)
    repeated = [
        (tenant, name) for tenant, name, task_id, _ in wanted if task_id not in changes.fresh
    ]
    if repeated:
        changes.requests.update(await relations.find_requests(connection, repeated))


async def _load_tasks(connection: Any, needs: Needs, changes: Changes) -> None:
    missing = needs.tasks - changes.live.keys() - changes.finished.keys()
    if not missing:
        return
    unknown: Collection[UUID] = missing
    if changes.remembered.has_any(missing):
        # All are locked at once, in order, whether they are remembered or not.
        unknown = changes.recall(await loading.lock_versions(connection, missing))
    if unknown:
        changes.known(await loading.lock_tasks(connection, unknown))
    missing -= changes.live.keys()
    if missing:
        for task in await loading.find_finished(connection, missing):
            changes.finished[task.id] = task


async def _load_limits(connection: Any, needs: Needs, changes: Changes) -> None:
    missing = needs.limits - changes.limits.keys()
    if missing:
        found = await loading.lock_limits(connection, missing)
        if needs.new_limits and len(found) < len(missing):
            # Two replicas may meet a key for the first time at the same moment.
            await relations.add_limits(connection, missing)
            found = await loading.lock_limits(connection, missing)
        changes.limits.update(((limit.tenant, limit.key), limit) for limit in found)
    for place, count in needs.members.items():
        # Those that have ended in this transaction are still among them.
        changes.members[place] = await loading.oldest_members(
            connection, changes.limits[place], count + len(changes.left) + len(changes.ended)
        )
    for place in needs.waiting:
        if (behind := changes.limits.get(place)) is not None:
            changes.waiting[place] = await _waiting_behind(connection, changes, behind)


async def _waiting_behind(connection: Any, changes: Changes, limit: Limit) -> list[Task]:
    room = min(limit.room(changes.now), limit.waiting, _MOST_LET_THROUGH)
    if room <= 0:
        return []
    # Those that this transaction has let go are still stored as waiting.
    gone = changes.let_go.get((limit.tenant, limit.key), 0)
    return await loading.lock_waiting(connection, limit, room + gone)


async def _load_budgets(connection: Any, needs: Needs, changes: Changes) -> None:
    roots: set[UUID] = set()
    for task_id in needs.budgets_of:
        parent = changes.live.get(task_id)
        if parent is not None:
            roots.add(parent.root)
    roots -= changes.budgets.keys()
    if roots:
        changes.budgets.update(await relations.lock_budgets(connection, roots))


async def settle(connection: Any, changes: Changes) -> None:
    """Bring about the consequences of the changes, and theirs, until there are none."""
    while changes.consequences:
        consequences, changes.consequences = changes.consequences, []
        needs = Needs()
        for each in consequences:
            follow.need(each, needs)
        await load(connection, needs, changes)
        for each in consequences:
            follow.bring_about(each, changes)


async def save(connection: Any, changes: Changes) -> None:
    """Write the changes, and forget that they are to be written.

    Raises:
        BlobNotFound: A task names a blob that its tenant hasn't.
    """
    if changes.used_blobs and any(await uses.mark_all_used(connection, changes.used_blobs)):
        raise BlobNotFound
    for write, items in _writes(changes):
        await write(connection, items)
    changes.note_written()
    for written in (
        changes.created, changes.changed, changes.only_started, changes.given, changes.ended,
        changes.events, changes.new_dependencies, changes.new_waits, changes.joined, changes.left,
        changes.touched_limits, changes.touched_budgets, changes.withdrawn, changes.taken_over,
        changes.held_back, changes.let_go, changes.new_pauses, changes.ended_pauses,
        changes.used_blobs,
    ):  # fmt: skip
        written.clear()


def _writes(changes: Changes) -> list[tuple[Write, list[Any]]]:
    created, ended = changes.created, changes.ended
    started = changes.only_started
    writes: list[tuple[Write, Iterable[Any]]] = [
        (writing.insert_tasks, (task for task in created.values() if task.id not in ended)),
        (writing.insert_ended, (task for task in created.values() if task.id in ended)),
        (writing.start_tasks, (changes.changed[task_id] for task_id in started)),
        (writing.update_tasks, (t for t in changes.changed.values() if t.id not in started)),
        (terms.insert_terms, filter(terms.has_terms, created.values())),
        (terms.renew_terms, changes.given.values()),
        (writing.update_given, changes.given.values()),
        (writing.end_tasks, (task for task in ended.values() if task.id not in created)),
        (writing.insert_events, changes.events),
        (relations.insert_dependencies, changes.new_dependencies),
        (relations.join_limits, changes.joined),
        (relations.leave_limits, changes.left),
        (relations.withdraw_requests, changes.withdrawn),
        (relations.take_over_requests, changes.taken_over.items()),
        (writing.save_limits, _limits(changes, spent=False)),
        (relations.forget_limits, _limits(changes, spent=True)),
        (steering.delete_pauses, changes.ended_pauses),
        (steering.put_pauses, changes.new_pauses),
        (relations.save_budgets, _budgets(changes)),
        (outbox.append_raw, (task_finished(task) for task in ended.values())),
    ]
    listed = ((write, list(items)) for write, items in writes)
    return [(write, items) for write, items in listed if items]


def _limits(changes: Changes, *, spent: bool) -> Iterable[Any]:
    touched = (changes.limits[place] for place in sorted(changes.touched_limits))
    return [
        (limit, limit.due_time(changes.now))
        for limit in touched
        if limit.is_spent(changes.now) is spent
    ]


def _budgets(changes: Changes) -> Iterable[Any]:
    return [(root, changes.budgets[root]) for root in sorted(changes.touched_budgets)]
