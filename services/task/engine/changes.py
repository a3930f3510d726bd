"""The working set of one transaction: what was read, and what becomes of it.

Operations change it in memory, one after the other; only then it is written, each
kind of change in one statement. So operations may meet on one task in any order
and number, and each sees what those before it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Protocol
from uuid import UUID

from services.task.blobs.uses import Naming
from services.task.domain.budgets import BudgetState
from services.task.domain.limits import Limit
from services.task.domain.policy import Dependency, DependencyCondition
from services.task.domain.states import EventType
from services.task.domain.steering import Pause
from services.task.domain.task import Agent, Lease, Scalar, Task
from services.task.engine.consequences import Consequence
from services.task.engine.remembered import Remembered, Version
from services.task.store.rows import event_row


class Seat(Protocol):
    """A place at a connected agent."""

    @property
    def agent(self) -> Agent:
        """Who sits there."""
        ...


class Seats(Protocol):
    """Knows which agents are free, and what is undone if the transaction fails."""

    def take_for_new(self, task: Task) -> Seat | None:
        """Take a seat for a task that has just become ready; None to have it queued."""
        ...

    def vacate(self, lease: Lease) -> None:
        """Note that a task has left its agent."""
        ...

    def queued(self, lane: int) -> None:
        """Note that a lane holds a queued task."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """New labels and attributes of a task; None for those that stay."""

    id: UUID
    labels: Mapping[str, str] | None
    attributes: Mapping[str, Scalar] | None


@dataclass(slots=True)
class Changes:
    """What a transaction has read and changes.

    Attributes:
        now: The time of the transaction, by the database's clock.
        lease: Seconds that a lease lasts.
        grace: Seconds that an agent has to stop a task in order, unless said otherwise.
        again: Times of earlier attempts at this transaction, one of which may have been committed.
        remembered: Tasks that need not be read, if their rows are as they were.
        xid: Of the transaction, as `xmin` of its rows shows it; None if it has told nobody.
        recorded: The events that are stored, in order, each as `event_row` returned it.
        written: Tasks whose rows are as they are here, once what is changed is stored.
        relabelled: Tasks whose labels or attributes have changed, in their rows only.
        whole: Tasks that are here with what their callers gave.
        started: The tasks that were given to seats, in order.
        results: Of the tasks that started ones depend on, by both ids.
        lost: Leases that were taken away.
        to_stop: Leases of tasks that are to be stopped, and the grace in seconds.
        new_waits: Those of the new dependencies whose end is still to come.
        lanes: Lanes that got tasks.
        held_back: Tasks that began to wait behind a limit, by it.
        let_go: How many no longer wait behind a limit, by it.
        steered: Whether a pause came or went.
        scheduled: Whether a task got a time to start at.
        withdrawn: Tenant and request id of creations that were refused.
        taken_over: Task and digest of the requests that came again right after a refusal.
    """

    now: datetime
    seats: Seats
    lease: float
    grace: float
    live: dict[UUID, Task] = field(default_factory=dict)
    finished: dict[UUID, Task] = field(default_factory=dict)
    due: list[Task] = field(default_factory=list)
    children: dict[UUID, list[UUID]] = field(default_factory=dict)
    dependents: dict[UUID, list[tuple[UUID, DependencyCondition]]] = field(default_factory=dict)
    limits: dict[tuple[str, str], Limit] = field(default_factory=dict)
    members: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)
    waiting: dict[tuple[str, str], list[Task]] = field(default_factory=dict)
    held_back: dict[tuple[str, str], dict[UUID, Task]] = field(default_factory=dict)
    let_go: dict[tuple[str, str], int] = field(default_factory=dict)
    pauses: dict[UUID, Pause] = field(default_factory=dict)
    due_limits: list[tuple[str, str]] = field(default_factory=list)
    budgets: dict[UUID, BudgetState] = field(default_factory=dict)
    fresh: set[UUID] = field(default_factory=set)
    requests: dict[tuple[str, str], tuple[UUID, bytes]] = field(default_factory=dict)

    created: dict[UUID, Task] = field(default_factory=dict)
    changed: dict[UUID, Task] = field(default_factory=dict)
    only_started: set[UUID] = field(default_factory=set)
    given: dict[UUID, Given] = field(default_factory=dict)
    ended: dict[UUID, Task] = field(default_factory=dict)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    new_dependencies: list[tuple[UUID, Dependency]] = field(default_factory=list)
    new_waits: list[tuple[UUID, Dependency]] = field(default_factory=list)
    joined: list[tuple[str, str, UUID]] = field(default_factory=list)
    left: list[tuple[str, str, UUID]] = field(default_factory=list)
    touched_limits: set[tuple[str, str]] = field(default_factory=set)
    touched_budgets: set[UUID] = field(default_factory=set)
    new_pauses: list[Pause] = field(default_factory=list)
    ended_pauses: list[UUID] = field(default_factory=list)
    used_blobs: list[Naming] = field(default_factory=list)

    again: frozenset[datetime] = frozenset()
    remembered: Remembered = field(default_factory=Remembered)
    xid: int | None = None
    recorded: list[tuple[Any, ...]] = field(default_factory=list)
    written: dict[UUID, Task] = field(default_factory=dict)
    relabelled: set[UUID] = field(default_factory=set)
    whole: set[UUID] = field(default_factory=set)
    started: list[tuple[Seat, Task]] = field(default_factory=list)
    results: dict[UUID, dict[UUID, bytes]] = field(default_factory=dict)
    lost: list[Lease] = field(default_factory=list)
    to_stop: list[tuple[Lease, float]] = field(default_factory=list)
    lanes: set[int] = field(default_factory=set)
    scheduled: bool = False
    steered: bool = False
    consequences: list[Consequence] = field(default_factory=list)
    withdrawn: set[tuple[str, str]] = field(default_factory=set)
    taken_over: dict[tuple[str, str], tuple[UUID, bytes]] = field(default_factory=dict)

    def record(
        self,
        task: Task,
        type_: EventType,
        *,
        content_type: str | None = None,
        data: bytes | None = None,
    ) -> None:
        """Add an event to a task's history, as the task is now, and have the task stored."""
        task.last_sequence += 1
        self.events.append(event_row(task, type_, self.now, content_type, data))
        self.touch(task)

    def touch(self, task: Task) -> None:
        """Have a task stored, with the time at which it is to be looked at next."""
        self.only_started.discard(task.id)
        if task.is_done:
            # What had changed before it ended is still to be written.
            self.live.pop(task.id, None)
            self.ended[task.id] = self.finished[task.id] = task
            return
        task.due_time = task.next_due()
        if task.id not in self.created:
            self.changed[task.id] = task

    def use_blob(self, tenant: str, blob_id: UUID | None) -> None:
        """Have a use of a blob counted, if one is named."""
        if blob_id is not None:
            self.used_blobs.append(Naming(tenant, [blob_id]))

    def find(self, tenant: str, task_id: UUID) -> Task | None:
        """Return a task of the tenant that was read or made, ended or not."""
        task = self.live.get(task_id) or self.finished.get(task_id)
        return task if task is not None and task.tenant == tenant else None

    def add(self, task: Task) -> None:
        """Have a new task stored."""
        self.created[task.id] = self.live[task.id] = task
        self.whole.add(task.id)

    def recall(self, versions: Iterable[Version]) -> list[UUID]:
        """Have the tasks of these versions from memory; return those that must be read."""
        unknown = []
        for version in versions:
            recalled = self.remembered.recall(version)
            if recalled is None:
                unknown.append(version[0])
                continue
            task, whole = recalled
            if self.live.setdefault(task.id, task) is task and whole:
                self.whole.add(task.id)
        return unknown

    def note_written(self) -> None:
        """Note what is stored, and which tasks are now as their rows are."""
        self.recorded += self.events
        for task in chain(self.created.values(), self.changed.values()):
            self.written[task.id] = task
        self.relabelled.update(self.given)
        for task_id in chain(self.ended, self.relabelled):
            self.written.pop(task_id, None)

    def follow(self, consequence: Consequence) -> None:
        """Have this happen in the same transaction."""
        self.consequences.append(consequence)

    def known_whole(self, tasks: Iterable[Task]) -> list[Task]:
        """Do the same with tasks that were read with what their callers gave."""
        whole = []
        for read in tasks:
            for task in self.known([read]):
                if task is not read:
                    task.input, task.input_payload = read.input, read.input_payload
                    task.labels, task.attributes = read.labels, read.attributes
                self.whole.add(task.id)
                whole.append(task)
        return whole

    def known(self, tasks: Iterable[Task]) -> list[Task]:
        """Return tasks just read as this transaction knows them, without those it has ended."""
        return [self.live.setdefault(each.id, each) for each in tasks if each.id not in self.ended]
