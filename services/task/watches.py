"""Watches of many tasks: what has happened since an offset, and then what happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from meshkit.database.engine import Database
from meshkit.errors import InvalidArgument
from meshkit.filtering import Filter
from services.task.domain.filters import is_wanted
from services.task.domain.task import Task, TaskEvent
from services.task.errors import OffsetExpired, TaskNotFound
from services.task.feed import Change, Feed, Subscription
from services.task.store import log as store
from services.task.store import reading

_NO_END: Final = 2**63 - 1

Established = Callable[[int], Awaitable[None]]
"""Is called once everything that happens after a position, which it is given, will be told."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody watches.

    Attributes:
        wanted: Changes after which this is true of the task; None for all.
        root: Of this task and all under it only.
        after: Position after which the changes are told; None from now on, or of a tree from
            its beginning.
    """

    tenant: str
    wanted: Filter | None
    root: UUID | None
    after: int | None

    def concerns(self, event: TaskEvent, task: Task) -> bool:
        """Tell whether a change has to be known of: of a tree each, to see its end."""
        if self.root is None:
            return self.wants(event, task)
        return self.root in (event.root_id, event.task_id)

    def wants(self, event: TaskEvent, task: Task) -> bool:
        """Tell whether a change of those is to be told."""
        return is_wanted(self.wanted, event, task)


class Watches:
    """Follows many tasks.

    A watcher that is too slow for the feed reads the log by itself until it has
    caught up; so it misses nothing, and holds nobody up.
    """

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    async def follow(
        self, watch: Watch, established: Established | None
    ) -> AsyncGenerator[Change, None]:
        """Yield the changes that are watched, in order; of a tree to its end.

        Raises:
            TaskNotFound: There is no such root in the tenant.
            InvalidArgument: It is no root.
            OffsetExpired: Changes after the offset may have been deleted.
        """
        await self._check(watch)
        position = 0 if watch.after is None and watch.root is not None else watch.after
        while True:
            async with self._feed.subscribed(watch.tenant, watch.concerns) as subscription:
                position = subscription.since if position is None else position
                if established is not None:
                    await established(position)
                    established = None
                async with aclosing(self._follow(watch, position, subscription)) as changes:
                    async for event, task in changes:
                        position = event.position
                        if watch.wants(event, task):
                            yield event, task
            if not subscription.overflowed:
                return

    async def _follow(
        self, watch: Watch, position: int, subscription: Subscription
    ) -> AsyncGenerator[Change, None]:
        """Yield what the watch concerns, to its end or until the subscription overflows."""
        read = self._log if watch.root is None else self._tree
        async with aclosing(read(watch, position, subscription.since)) as changes:
            async for change in changes:
                yield change
                position = change[0].position
        over = await self._is_over(watch)
        while not over and (change_or_none := await subscription.next()) is not None:
            yield change_or_none
            event, _ = change_or_none
            position = event.position
            over = event.is_last and await self._is_over(watch)
        if over:
            async with aclosing(self._tree(watch, position, _NO_END)) as changes:
                async for change in changes:
                    yield change

    async def _check(self, watch: Watch) -> None:
        if watch.root is None:
            if watch.after is not None and watch.after < await self._floor():
                raise OffsetExpired
            return
        root = watch.root
        task = await self._database.read(
            lambda connection: reading.get_task(connection, watch.tenant, root)
        )
        if task is None:
            raise TaskNotFound
        if task.root != root:
            raise InvalidArgument(
                f"This task has a parent; its root is {task.root}.", field="root_id"
            )

    async def _floor(self) -> int:
        return await self._database.read(store.floor_of_log)

    async def _is_over(self, watch: Watch) -> bool:
        root = watch.root
        if root is None:
            return False
        return not await self._database.transaction(
            lambda connection: store.tree_lives(connection, root)
        )

    async def _log(self, watch: Watch, after: int, upto: int) -> AsyncGenerator[Change, None]:
        while after < upto:
            part = await self._database.transaction(
                lambda connection, after=after: store.read_log(  # type: ignore[misc]
                    connection, {watch.tenant}, after=after, upto=upto
                )
            )
            if part.last is None:
                return
            for change in await self._concerned(watch, part.events):
                yield change
            after = part.last

    async def _tree(self, watch: Watch, after: int, upto: int) -> AsyncGenerator[Change, None]:
        root, sequence = watch.root, 0
        while root is not None:
            events = await self._database.transaction(
                lambda connection, after=after, sequence=sequence: store.read_tree(  # type: ignore[misc]
                    connection, root, sequence=sequence, after=after, upto=upto
                )
            )
            if not events:
                return
            for change in await self._concerned(watch, events):
                yield change
            after = events[-1].position
            sequence = max(
                (event.sequence for event in events if event.task_id == root), default=sequence
            )

    async def _concerned(self, watch: Watch, events: Sequence[TaskEvent]) -> list[Change]:
        tasks = await self._database.read(lambda connection: store.tasks_of(connection, events))
        changes = ((event, tasks[event.task_id]) for event in events if event.task_id in tasks)
        return [change for change in changes if watch.concerns(*change)]
