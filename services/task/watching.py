"""Who on this replica waits for which task to change."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from services.task.domain.task import Task, TaskEvent
from services.task.usecases.tasks import Tasks

_LOOK_SECONDS = 5.0


class Watching:
    """Follows tasks' histories in the database, woken by notifications.

    The history is the truth and the notification only a hint, so any replica can
    serve any watcher, from any sequence.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._waiting: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)

    def heard_of_change(self, payload: str) -> None:
        """Take a notification with the ids of changed tasks; an empty one may stand for any."""
        if payload:
            if self._waiting:
                for task_id in payload.split(","):
                    for event in self._waiting.get(UUID(task_id), ()):
                        event.set()
            return
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def follow(
        self, tenant: str, task_id: UUID, after: int
    ) -> AsyncGenerator[tuple[TaskEvent, Task], None]:
        """Yield a task's events after sequence `after`, in order, to the terminal one.

        With each comes the task, as it was when it last changed in what events don't tell.

        Raises:
            TaskNotFound: There is none in the tenant.
        """
        task: Task | None = None
        with self._subscription(task_id) as changed:
            while True:
                changed.clear()
                known = task
                events, task = await self._tasks.news(tenant, task_id, after=after, known=known)
                for event in events:
                    yield event, task
                    if event.is_last:
                        return
                    after = event.sequence
                if not events:
                    # Events are read before their task, so the last may have come in between.
                    if known is not None and known.is_done:
                        return
                    if not task.is_done:
                        await _wait(changed)

    async def wait(self, task: Task, seconds: float) -> Task:
        """Return the task once it has ended, or as it is after so many seconds."""
        with self._subscription(task.id) as changed, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    changed.clear()
                    task = await self._tasks.get(task.tenant, task.id)
                    if task.is_done:
                        break
                    await _wait(changed)
        return task

    @contextmanager
    def _subscription(self, task_id: UUID) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._waiting[task_id].add(changed)
        try:
            yield changed
        finally:
            self._waiting[task_id].discard(changed)
            if not self._waiting[task_id]:
                del self._waiting[task_id]


async def _wait(changed: asyncio.Event) -> None:
    # Notifications can be lost with their connection, so look now and then all the same.
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await changed.wait()
    except TimeoutError:
        return
