"""Who on this replica waits for which task to change."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from services.task.domain.states import EventType
from services.task.domain.task import Task, TaskEvent
from services.task.engine.changes import Changes
from services.task.store.rows import event_of_values
from services.task.usecases.tasks import Tasks

_LOOK_SECONDS: Final = 5.0
# More, or larger, the watcher reads from the database.
_MOST_TOLD: Final = 100
_MOST_BYTES_TOLD: Final = 4096


@dataclass(eq=False, slots=True)
class _Watcher:
    """One that waits for a task to change.

    Attributes:
        after: Sequence of the last event that it has seen or was told.
        told: What this replica itself has done to the task since, with the task if that ended it.
        behind: Whether there may be more than it was told.
    """

    after: int
    told: deque[tuple[TaskEvent, Task | None]] = field(default_factory=deque)
    behind: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: TaskEvent, ended: Task | None) -> None:
        """Tell it of an event, in the order of sequences; what can't be told it must look for."""
        small = event.data is None or len(event.data) <= _MOST_BYTES_TOLD
        follows = event.sequence == self.after + 1 and event.type is not EventType.UPDATED
        if small and follows and len(self.told) < _MOST_TOLD:
            self.after = event.sequence
            self.told.append((event, ended))
            self._woken.set()
        else:
            self.hear_of(event.sequence)

    def hear_of(self, sequence: float) -> None:
        """Tell it that there is an event of this sequence."""
        if sequence > self.after:
            self.behind = True
            self._woken.set()

    def begin_look(self) -> None:
        """Forget what a look at the history, which begins now, will show."""
        self.behind = False
        self.told.clear()
        self._woken.clear()

    def take(self, task: Task) -> list[tuple[TaskEvent, Task]]:
        """Take what was told, each event with the task as it is to be shown with it."""
        taken = []
        while self.told:
            event, ended = self.told.popleft()
            taken.append((event, task if ended is None else _as_ended(task, ended)))
        return taken

    async def must_look(self) -> bool:
        """Wait until something has happened; tell whether more than was told."""
        # Notifications can be lost with their connection, so look now and then all the same.
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return True
        self._woken.clear()
        return self.behind


class Watching:
    """Follows tasks' histories in the database, woken by notifications.

    The history is the truth and the notification only a hint, so any replica can
    serve any watcher, from any sequence. What this replica has done itself, it tells its
    watchers without a look there.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._waiting: defaultdict[UUID, set[_Watcher]] = defaultdict(set)

    def committed(self, changes: Changes) -> None:
        """Tell of what a transaction of this replica has done."""
        if not self._waiting:
            return
        for values in changes.recorded:
            watchers = self._waiting.get(values[0])
            if watchers:
                event = event_of_values(values)
                ended = changes.finished.get(event.task_id) if event.is_last else None
                for watcher in watchers:
                    watcher.tell(event, ended)

    def heard_of_change(self, payload: str) -> None:
        """Take a notification of the last events of changed tasks; an empty one is of any."""
        if payload:
            if self._waiting:
                for item in payload.split(","):
                    task_id, _, sequence = item.partition("/")
                    for watcher in self._waiting.get(UUID(task_id), ()):
                        watcher.hear_of(int(sequence))
            return
        for watchers in self._waiting.values():
            for watcher in watchers:
                watcher.hear_of(math.inf)

    async def follow(
        self, tenant: str, task_id: UUID, after: int
    ) -> AsyncGenerator[tuple[TaskEvent, Task], None]:
        """Yield a task's events after sequence `after`, in order, to the terminal one.

        With each comes the task, as it was when it last changed in what events don't tell.

        Raises:
            TaskNotFound: There is none in the tenant.
        """
        task: Task | None = None
        must_look = True
        with self._subscription(task_id, after) as watcher:
            while True:
                if task is None or must_look:
                    known = task
                    watcher.begin_look()
                    news = await self._tasks.news(tenant, task_id, after=after, known=known)
                    task, must_look = news.task, news.may_go_on
                    changes = [(event, task) for event in news.events]
                    if not changes and task.is_done:
                        if known is not None and known.is_done:
                            return
                        # Events are read before their task: the last may have come in between.
                        must_look = True
                else:
                    changes = watcher.take(task)
                for event, as_it_was in changes:
                    # One may have been both read and told.
                    if event.sequence > after:
                        yield event, as_it_was
                        if event.is_last:
                            return
                        after = event.sequence
                watcher.after = max(watcher.after, after)
                must_look = must_look or await watcher.must_look()

    async def wait(self, task: Task, seconds: float) -> Task:
        """Return the task once it has ended, or as it is after so many seconds."""
        with self._subscription(task.id, 0) as watcher, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    watcher.begin_look()
                    task = await self._tasks.get(task.tenant, task.id)
                    if task.is_done:
                        break
                    await watcher.must_look()
        return task

    @contextmanager
    def _subscription(self, task_id: UUID, after: int) -> Iterator[_Watcher]:
        watcher = _Watcher(after)
        self._waiting[task_id].add(watcher)
        try:
            yield watcher
        finally:
            self._waiting[task_id].discard(watcher)
            if not self._waiting[task_id]:
                del self._waiting[task_id]


def _as_ended(task: Task, ended: Task) -> Task:
    """Return a task as it ended, which the engine need not have read as a whole."""
    shown = task.copy()
    shown.state, shown.start_time, shown.end_time = ended.state, ended.start_time, ended.end_time
    shown.result, shown.result_payload = ended.result, ended.result_payload
    return shown
