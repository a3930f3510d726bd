"""Lists and counts of a tenant's tasks.

Each statement reads a bounded number of rows, and so does each call: where no index
leads to the tasks that a filter selects, a call looks at so many and returns what
it found among them, with the token to go on by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from meshkit.database.engine import Database
from meshkit.errors import InvalidArgument
from meshkit.filtering import INTEGER, TIME, Kind
from meshkit.paging import (
    Keyset,
    KeysetPage,
    Ordering,
    SortKey,
    SortValue,
    keyset,
    ordering,
    token_after,
)
from services.task.domain.filters import read_filter
from services.task.domain.states import TaskState
from services.task.domain.task import Task
from services.task.store import listing
from services.task.store.listing import Step
from services.task.store.paths import By, Path, path_of
from services.task.store.walks import Place, Stretch

MOST_COUNTED: Final = 100_000
"""Counts are exact up to this."""

_SORTABLE: Final = {"create_time": TIME, "priority": INTEGER}
_NEWEST_FIRST: Final = "create_time desc"
_STEP: Final = 1000
_MOST_WALKED: Final = 20_000
# Tasks may be large by what is shown of them, and what takes a page must fit into a message.
_AT_A_TIME: Final = 100
_MOST_BYTES: Final = 2 << 20
_COUNT_STEP: Final = 5000


@dataclass(frozen=True, slots=True)
class Count:
    """How many tasks are in a state; `at_least` if there may be more."""

    state: TaskState
    count: int
    at_least: bool


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a list is: in which priority, if it goes by that, and after which task there."""

    priority: int | None
    place: Place | None


class Listing:
    """Lists and counts tasks, each within the caller's tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, tenant: str, filter_text: str, order_by: str, page_size: int, page_token: str
    ) -> KeysetPage[Task]:
        """Return a page of the tasks that a filter selects; short or empty, others may follow.

        Raises:
            InvalidArgument: The filter, order or token can't be read, or don't belong together.
        """
        order = _order(order_by)
        wanted = keyset(page_size, page_token, order, tenant, filter_text)
        path = path_of(tenant, read_filter(filter_text), by_state=_by_priority(order))
        if path.leads_nowhere:
            return KeysetPage([], "")
        return await self._page(path, wanted)

    async def counts(self, tenant: str, filter_text: str) -> list[Count]:
        """Count the tasks that a filter selects, by state.

        Raises:
            InvalidArgument: The filter can't be read.
        """
        return await self.count(path_of(tenant, read_filter(filter_text)))

    async def count(self, path: Path) -> list[Count]:
        """Count the tasks at the end of a path, by state."""
        if path.leads_nowhere:
            return []
        if path.by is By.STATE and path.exact:
            return [count async for count in self._count_ranges(path)]
        return await self._count_walking(path)

    async def _page(self, path: Path, wanted: Keyset) -> KeysetPage[Task]:
        newest_first = wanted.ordering.keys[-1].descending
        tasks: list[Task] = []
        position = _beginning(path, wanted)
        walked = taken = 0
        while walked < _MOST_WALKED:
            # One more than the page holds, to see whether any follow.
            most = min(wanted.size + 1 - len(tasks), _AT_A_TIME)
            priorities = path.priorities if position.priority is None else (position.priority,)
            step = most if path.exact else _STEP
            stretch = Stretch(path, priorities, newest_first, position.place, step)
            done = await self._walk(stretch, most)
            for task, size in zip(done.tasks, done.sizes, strict=True):
                if len(tasks) == wanted.size or (tasks and taken + size > _MOST_BYTES):
                    return _page_after(wanted, tasks)
                tasks.append(task)
                taken += size
            walked += done.walked
            following = _following(path, wanted.ordering, position, done)
            if following is None:
                return KeysetPage(tasks, "")
            position = following
        return _page_to(wanted, tasks, position)

    async def _walk(self, stretch: Stretch, most: int) -> Step:
        return await self._database.transaction(
            lambda connection: listing.walk(connection, stretch, most)
        )

    async def _count_ranges(self, path: Path) -> AsyncIterator[Count]:
        for state in path.states:
            # A statement each: none holds back the cleaning up of what others leave behind.
            count = await self._database.transaction(
                lambda connection, state=state: listing.count_state(  # type: ignore[misc]
                    connection, path, state, MOST_COUNTED + 1
                )
            )
            if count:
                yield Count(state, min(count, MOST_COUNTED), count > MOST_COUNTED)

    async def _count_walking(self, path: Path) -> list[Count]:
        counts: dict[TaskState, int] = {}
        stretch = Stretch(path, path.priorities, True, None, _COUNT_STEP)
        for _ in range(MOST_COUNTED // _COUNT_STEP):
            found, done = await self._count_stretch(stretch)
            for state, count in found.items():
                counts[state] = counts.get(state, 0) + count
            if done.at_end:
                return _counts(counts, at_least=False)
            stretch = replace(stretch, after=done.last)
        return _counts(counts, at_least=True)

    async def _count_stretch(self, stretch: Stretch) -> tuple[Mapping[TaskState, int], Step]:
        return await self._database.transaction(
            lambda connection: listing.count_stretch(connection, stretch)
        )


def _order(order_by: str) -> Ordering:
    """Read an order; tasks alike in it are ordered by the time of creation, and by their ids."""
    asked = ordering(order_by, _SORTABLE, default=_NEWEST_FIRST, unique="create_time").keys
    if len(asked) == 2 and asked[0].field == "create_time":
        raise InvalidArgument(
            "Can't order by that: create_time comes last, since hardly any two tasks share it."
            " Write for example: priority desc, create_time",
            reason="INVALID_ORDER_BY",
            field="order_by",
        )
    return Ordering((*asked, SortKey("id", Kind.UUID, asked[-1].descending)))


def _by_priority(order: Ordering) -> bool:
    return order.keys[0].field == "priority"


def _beginning(path: Path, wanted: Keyset) -> _Position:
    order = wanted.ordering
    if wanted.after is None:
        return _Position(_next_priority(path, order, None) if _by_priority(order) else None, None)
    *rest, create_time, task_id = wanted.after
    known = isinstance(create_time, datetime) and isinstance(task_id, UUID)
    place = Place(create_time, task_id) if known else None  # type: ignore[arg-type] # see above
    return _Position(rest[0] if rest and isinstance(rest[0], int) else None, place)


def _following(path: Path, order: Ordering, position: _Position, done: Step) -> _Position | None:
    """Return where to go on after a step; None at the end of the path."""
    if not done.at_end:
        return _Position(position.priority, done.last)
    if position.priority is None:
        return None
    priority = _next_priority(path, order, position.priority)
    return None if priority is None else _Position(priority, None)


def _next_priority(path: Path, order: Ordering, after: int | None) -> int | None:
    descending = order.keys[0].descending
    for priority in sorted(path.priorities, reverse=descending):
        if after is None or (priority < after if descending else priority > after):
            return priority
    return None


def _page_after(wanted: Keyset, tasks: Sequence[Task]) -> KeysetPage[Task]:
    last = tasks[-1]
    return _page_to(wanted, tasks, _Position(last.priority, Place(last.create_time, last.id)))


def _page_to(wanted: Keyset, tasks: Sequence[Task], position: _Position) -> KeysetPage[Task]:
    place = position.place
    values: dict[str, SortValue] = {
        "priority": position.priority,
        "create_time": None if place is None else place.create_time,
        "id": None if place is None else place.id,
    }
    return KeysetPage(tasks, token_after(wanted, values))


def _counts(counts: Mapping[TaskState, int], *, at_least: bool) -> list[Count]:
    return [Count(state, counts[state], at_least) for state in TaskState if state in counts]
