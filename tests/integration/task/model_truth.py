"""What is so in the database, held against the reference and against itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.task.v1.task_events_pb2 import TaskFinished
from meshkit.database.engine import Database
from tests.integration.task.model_reference import Known, Reference

_TABLES: Final = (
    "tasks", "finished_tasks", "limits", "limit_members", "outbox", "task_requests", "budgets",
)  # fmt: skip
_FULFILS: Final = {
    "succeeded": ("succeeded",),
    "failed": ("failed", "dead_lettered"),
    "ended": ("succeeded", "failed", "dead_lettered", "cancelled"),
}


class Truth:
    """A snapshot of the task database."""

    def __init__(self, tables: dict[str, list[Any]], now: datetime) -> None:
        self.now = now
        self.live = {row.id: row for row in tables["tasks"]}
        self.finished = {row.id: row for row in tables["finished_tasks"]}
        self.limits = {row.key: row for row in tables["limits"]}
        self.members = Counter(row.key for row in tables["limit_members"])
        self.outbox = [TaskFinished.FromString(row.payload) for row in tables["outbox"]]
        self.requests = {row.request_id: row.task_id for row in tables["task_requests"]}
        self.budgets = {row.root_id: row for row in tables["budgets"]}

    def check(self, reference: Reference) -> None:
        """Object to whatever must never be so, in the middle of things or not."""
        self._check_places(reference)
        for task in reference.tasks.values():
            if task.state:
                self._check_row(task)
        self._check_announcements()
        self._check_limits(reference)
        self._check_budgets(reference)

    def unsettled(self, reference: Reference) -> list[str]:
        """Return what must not stay so once the engine has nothing left to do."""
        return [
            *self._idle(reference),
            *self._held_up(),
            *self._forgotten_dependents(reference),
            *self._orphans(reference),
        ]

    def _check_places(self, reference: Reference) -> None:
        assert not self.live.keys() & self.finished.keys(), "both unfinished and finished"
        known = {task_id for task_id, task in reference.tasks.items() if task.state}
        there = self.live.keys() | self.finished.keys()
        assert there == known, f"lost {known - there}, from nowhere {there - known}"

    def _check_row(self, task: Known) -> None:
        row = self.live[task.id] if task.live else self.finished[task.id]
        stored = (row.state, row.attempt, row.epoch, row.last_sequence, row.agent_id)
        told = (task.state, task.attempt, task.epoch, task.sequence, task.agent_id)
        assert stored == told, f"stored {stored}, by its history {told}"
        assert row.input == task.new.input, "its input changed"
        if task.live:
            assert (row.lease_time is not None) == (task.state == "running"), row
            assert (row.cancel_by is not None) == task.cancel_asked, row
            assert row.blocked_by is None or task.state == "queued", row

    def _check_announcements(self) -> None:
        told = Counter(UUID(each.task_id) for each in self.outbox)
        ended = Counter(self.finished.keys())
        assert told == ended, f"announced {told}, ended {ended}"

    def _check_limits(self, reference: Reference) -> None:
        live = [task for task in reference.tasks.values() if task.live and task.state]
        for key, limit in self.limits.items():
            named = [task for task in live if key in task.policy.limit_keys]
            waiting = sum(row.blocked_by == key for row in self.live.values())
            counted = (limit.taken, limit.members, self.members[key], limit.waiting)
            truth = (reference.taken(key), len(named), len(named), waiting)
            assert counted == truth, f"{key}: (taken, members, rows, waiting) {counted}, is {truth}"
        named_keys = {key for task in live for key in task.policy.limit_keys}
        assert named_keys <= self.limits.keys()

    def _check_budgets(self, reference: Reference) -> None:
        made = Counter(
            self._root(reference, task) for task in reference.tasks.values() if task.state
        )
        for root, budget in self.budgets.items():
            assert budget.tasks == made[root], f"the budget counts {budget.tasks} of {made[root]}"
            assert not budget.max_tasks or budget.tasks <= budget.max_tasks

    def _root(self, reference: Reference, task: Known) -> UUID:
        while task.new.parent_id is not None:
            task = reference.tasks[task.new.parent_id]
        return task.id

    def _idle(self, reference: Reference) -> Iterator[str]:
        """Tasks that wait although somebody is free for them."""
        free = [
            worker
            for agent_id, worker in reference.workers.items()
            if worker.open and reference.running(agent_id) < worker.slots
        ]
        for row in self.live.values():
            if row.state != "queued" or row.blocked_by is not None:
                continue
            task = reference.tasks[row.id]
            for worker in free:
                able = task.new.capability in worker.agent.capabilities
                excluded = task.policy.placement.excluded_agent_ids
                if able and str(worker.agent.id) not in excluded:
                    yield f"{row.id} waits although {worker.agent.name} is free"

    def _held_up(self) -> Iterator[str]:
        """Tasks that wait behind a limit that has room."""
        for row in self.live.values():
            if row.blocked_by is not None and self._is_open(self.limits[row.blocked_by]):
                yield f"{row.id} waits behind {row.blocked_by}, which has room"

    def _is_open(self, limit: Any) -> bool:
        if limit.paused_until is not None and limit.paused_until > self.now:
            return False
        if limit.places is not None and limit.taken >= limit.places:
            return False
        if limit.units is None or limit.full_time is None:
            return True
        ahead = (limit.full_time - self.now).total_seconds()
        return bool(ahead <= limit.period * (1 - 1 / limit.units))

    def _forgotten_dependents(self, reference: Reference) -> Iterator[str]:
        """Tasks that wait for others although it is decided what those come to."""
        for row in self.live.values():
            task = reference.tasks[row.id]
            others = [
                (reference.tasks[each.task_id], _FULFILS[each.condition])
                for each in task.policy.dependencies
            ]
            still = sum(other.live for other, _ in others)
            met = [other.state in states for other, states in others if not other.live]
            expected = still
            if task.policy.needs_any and any(met):
                expected = 0
            if row.awaits != expected:
                yield f"{row.id} awaits {row.awaits} of {expected}"
            hopeless = (not any(met) and not still) if task.policy.needs_any else not all(met)
            if others and hopeless:
                yield f"{row.id} waits for what can't come"

    def _orphans(self, reference: Reference) -> Iterator[str]:
        """Tasks that go on although the one above was given up."""
        for row in self.live.values():
            task = reference.tasks[row.id]
            parent = reference.tasks.get(task.new.parent_id) if task.new.parent_id else None
            if parent is None or parent.live or parent.state == "succeeded":
                continue
            if not task.cancel_asked:
                yield f"{row.id} is {row.state} though its parent is {parent.state}"


async def read(database: Database) -> Truth:
    """Read the database as it is now."""

    async def rows(connection: AsyncConnection) -> Truth:
        tables = {
            name: list(await connection.execute(text(f"SELECT * FROM {name}")))  # noqa: S608
            for name in _TABLES
        }
        now = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
        return Truth(tables, now)

    return await database.transaction(rows)
