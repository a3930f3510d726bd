"""The feed: one reader of the log for all on this replica who watch many tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.domain.task import Task, TaskEvent
from services.task.store import log as store
from services.task.store.log import LogPart

log = structlog.get_logger()

Change = tuple[TaskEvent, Task]
"""An event, and its task as it was when the event was read."""

OVERFLOWS: Final = Counter(
    "agentmesh_feed_overflows", "Watchers that were too slow for the feed and read by themselves."
)

_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.005
_ROOM: Final = 1000
_MOST_BYTES: Final = 8 << 20
_NO_END: Final = 2**63 - 1


@dataclass(eq=False, slots=True)
class Subscription:
    """What one watcher wants of the feed, and what it was given and has not taken yet.

    Attributes:
        room: Most changes that may wait to be taken.
        since: The changes after this position are given.
        overflowed: Whether the watcher was too slow, and is given nothing more.
    """

    tenant: str
    wants: Callable[[TaskEvent, Task], bool]
    room: int
    since: int = 0
    overflowed: bool = False
    began: asyncio.Event = field(default_factory=asyncio.Event)
    _changes: deque[Change] = field(default_factory=deque)
    _bytes: int = 0
    _given: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> Change | None:
        """Wait for a change and take it; None if the subscription has overflowed."""
        while not self._changes:
            if self.overflowed:
                return None
            self._given.clear()
            await self._given.wait()
        change = self._changes.popleft()
        self._bytes -= _size(change)
        return change

    def give(self, change: Change) -> None:
        """Give a change to the watcher, if it wants it and has room."""
        if self.overflowed or change[0].tenant != self.tenant or not self.wants(*change):
            return
        if len(self._changes) >= self.room or self._bytes + _size(change) > _MOST_BYTES:
            # It reads by itself what it could not hold.
            OVERFLOWS.inc()
            self.overflowed = True
            self._changes.clear()
        else:
            self._changes.append(change)
            self._bytes += _size(change)
        self._given.set()


class Feed:
    """Reads the log once for all subscriptions; and not at all while there are none.

    Changes are given in the order of the log. None is left out: what a transaction
    that commits late will put between others is waited for.

    Attributes:
        room: Most changes that may wait for a watcher, who reads by himself if there are more.
        gap: The position before which something may be missing, while that is waited for.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new: list[Subscription] = []
        self._active: set[Subscription] = set()
        self._settled: int | None = None
        self._woken = asyncio.Event()
        self.room = _ROOM
        self.gap: int | None = None

    def heard_of_change(self, _payload: str = "") -> None:
        """Look soon: tasks have changed."""
        self._woken.set()

    @asynccontextmanager
    async def subscribed(
        self, tenant: str, wants: Callable[[TaskEvent, Task], bool]
    ) -> AsyncIterator[Subscription]:
        """Give a tenant's changes that are wanted, from about now on."""
        subscription = Subscription(tenant, wants, self.room)
        self._new.append(subscription)
        self._woken.set()
        try:
            await subscription.began.wait()
            yield subscription
        finally:
            if subscription in self._new:
                self._new.remove(subscription)
            self._active.discard(subscription)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self._read_on()
            except DomainError as error:
                log.warning("can't read the log", cause=error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._wait()

    async def _wait(self) -> None:
        # Notifications can be lost with their connection, so look now and then all the same.
        seconds = _LOOK_SECONDS if self._active else None
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _read_on(self) -> None:
        """Read to the end of the log."""
        while True:
            if not self._active and not self._new:
                self._settled = None
                return
            if self._settled is None:
                self._settled = await self._end_of_log()
            self._begin(self._settled)
            part = await self._next_part(self._settled)
            if part.last is None:
                return
            tasks = await self._tasks(part.events)
            self._give(part.events, tasks)
            self._settled = part.last

    def _begin(self, position: int) -> None:
        for subscription in self._new:
            subscription.since = position
            subscription.began.set()
            self._active.add(subscription)
        self._new.clear()

    def _give(self, events: Sequence[TaskEvent], tasks: Mapping[UUID, Task]) -> None:
        for event in events:
            # The history of a task that has been deleted since is gone as well.
            if (task := tasks.get(event.task_id)) is not None:
                for subscription in self._active:
                    subscription.give((event, task))

    async def _end_of_log(self) -> int:
        last = await self._database.read(store.last_position)
        await self._settle(after=last, upto=last)
        return last

    async def _next_part(self, after: int) -> LogPart:
        part = await self._read(after, _NO_END)
        if part.last is None or part.is_whole:
            return part
        self.gap = part.last
        await self._settle(after=after, upto=part.last)
        self.gap = None
        return await self._read(after, part.last)

    async def _settle(self, *, after: int, upto: int) -> None:
        """Return once nothing more will come between these positions."""
        writing = await self._database.read(store.writers)
        while writing and not await self._is_whole(after, upto):
            await asyncio.sleep(_POLL_SECONDS)
            writing &= await self._database.read(store.writers)

    async def _is_whole(self, after: int, upto: int) -> bool:
        return after < upto and await self._database.transaction(
            lambda connection: store.is_whole(connection, after=after, upto=upto)
        )

    async def _read(self, after: int, upto: int) -> LogPart:
        tenants = {subscription.tenant for subscription in self._active}
        return await self._database.transaction(
            lambda connection: store.read_log(connection, tenants, after=after, upto=upto)
        )

    async def _tasks(self, events: Sequence[TaskEvent]) -> Mapping[UUID, Task]:
        return await self._database.read(lambda connection: store.tasks_of(connection, events))


def _size(change: Change) -> int:
    data = change[0].data
    return 0 if data is None else len(data)
