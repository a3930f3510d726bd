"""One transaction of the engine: read what is needed, change it in memory, write the changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from meshkit.events import outbox
from meshkit.ids import uuid7
from services.task.announcements import task_finished
from services.task.engine import follow
from services.task.engine.changes import Changes
from services.task.engine.needs import Needs
from services.task.store import loading, relations, writing

Write = Callable[[Any, list[Any]], Awaitable[None]]
"""Writes changes of one kind, all in one statement."""


async def load(connection: Any, needs: Needs, changes: Changes) -> None:
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
    for task_id in needs.trees:
        changes.children[task_id] = await loading.find_descendants(connection, [task_id], 100_000)
    await _load_tasks(connection, needs, changes)
    await _load_limits(connection, needs, changes)
    await _load_budgets(connection, needs, changes)


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
    changes.known(await loading.lock_tasks(connection, missing))
    missing -= changes.live.keys()
    if missing:
        for task in await loading.find_finished(connection, missing):
            changes.finished[task.id] = task


async def _load_limits(connection: Any, needs: Needs, changes: Changes) -> None:
    missing = needs.limits - changes.limits.keys()
    if missing:
        for limit in await loading.lock_limits(connection, missing):
            changes.limits[limit.tenant, limit.key] = limit
    for place, count in needs.members.items():
        changes.members[place] = await loading.oldest_members(
            connection, changes.limits[place], count
        )
    for place in needs.waiting:
        behind = changes.limits.get(place)
        room = 0 if behind is None else min(behind.room(changes.now), behind.waiting, 500)
        if behind is not None and room > 0:
            changes.waiting[place] = await loading.lock_waiting(connection, behind, room)


async def _load_budgets(connection: Any, needs: Needs, changes: Changes) -> None:
    roots = set(needs.budgets)
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
    """Write the changes, and forget that they are to be written."""
    for write, items in _writes(changes):
        await write(connection, items)
    for written in (
        changes.created, changes.changed, changes.only_started, changes.given, changes.ended,
        changes.events, changes.new_dependencies, changes.joined, changes.left,
        changes.touched_limits, changes.touched_budgets, changes.withdrawn,
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
        (writing.update_given, changes.given.values()),
        (writing.end_tasks, (task for task in ended.values() if task.id not in created)),
        (writing.insert_events, changes.events),
        (relations.insert_dependencies, changes.new_dependencies),
        (relations.join_limits, changes.joined),
        (relations.leave_limits, changes.left),
        (relations.withdraw_requests, changes.withdrawn),
        (writing.save_limits, _limits(changes)),
        (relations.save_budgets, _budgets(changes)),
        (outbox.append_raw, (task_finished(task, uuid7) for task in ended.values())),
    ]
    listed = ((write, list(items)) for write, items in writes)
    return [(write, items) for write, items in listed if items]


def _limits(changes: Changes) -> Iterable[Any]:
    touched = (changes.limits[place] for place in sorted(changes.touched_limits))
    return [(limit, limit.due_time(changes.now)) for limit in touched]


def _budgets(changes: Changes) -> Iterable[Any]:
    return [(root, changes.budgets[root]) for root in sorted(changes.touched_budgets)]
