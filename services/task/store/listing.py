"""Lists and counts of tasks: walks along a path, a bounded number of rows a statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    Table,
    and_,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.states import TERMINAL, TaskState
from services.task.domain.task import Task
from services.task.store.paths import Path
from services.task.store.planning import pin_plans
from services.task.store.rows import COMMON, ENDED, LIVE, listed_task_of
from services.task.store.walks import Place, Stretch, ordered, passing, walked
from services.task.tables import FINISHED_TASKS, TASKS

_SHOWN: Final = (*COMMON, "labels", "attributes", *LIVE, *ENDED)
# What may be large, and isn't shown in lists.
_LEFT_OUT: Final = ("result", "result_payload", "checkpoint", "answer")
_LARGE: Final = ("policy", "progress_message", "error_message")
_SIZE: Final = 300


@dataclass(frozen=True, slots=True)
class Step:
    """What a statement found.

    Attributes:
        tasks: Those that passed, in the order of the walk.
        last: Where the walk went on to; None if there was nothing.
        at_end: Whether nothing follows.
        walked: How many candidates it passed.
        sizes: About how many bytes each of the tasks has.
    """

    tasks: Sequence[Task]
    last: Place | None
    at_end: bool
    walked: int
    sizes: Sequence[int] = ()


async def walk(connection: AsyncConnection, stretch: Stretch, most: int) -> Step:
    """Return the first `most` tasks of a stretch that pass, without what may be large."""
    await pin_plans(connection)
    rows = (await connection.execute(walk_statement(stretch, most))).mappings().all()
    found = [row for row in rows if row["id"] is not None]
    tasks, sizes = [listed_task_of(row) for row in found], [_size_of(row) for row in found]
    place, count = _edge(rows)
    at_end = count < stretch.most
    if len(tasks) == most:
        place, at_end = Place(tasks[-1].create_time, tasks[-1].id), False
    return Step(tasks, place, at_end, count, sizes)


async def count_stretch(
    connection: AsyncConnection, stretch: Stretch
) -> tuple[Mapping[TaskState, int], Step]:
    """Count by state the tasks of a stretch that pass."""
    await pin_plans(connection)
    rows = (await connection.execute(count_statement(stretch))).mappings().all()
    counts = {TaskState(row["state"]): row["count"] for row in rows if row["state"] is not None}
    place, count = _edge(rows)
    return counts, Step([], place, at_end=count < stretch.most, walked=count)


async def count_state(connection: AsyncConnection, path: Path, state: TaskState, most: int) -> int:
    """Count the tasks in one state on an exact path by state, up to `most`; by an index alone."""
    await pin_plans(connection)
    counted = await connection.execute(state_statement(path, state, most))
    return int(counted.scalar_one())


def walk_statement(stretch: Stretch, most: int) -> Select[Any]:
    """Compose what `walk` asks."""
    candidates, newest = walked(stretch), stretch.newest_first
    joined = [passing(stretch.path, candidates, table) for table in (TASKS, FINISHED_TASKS)]
    found = union_all(
        *(select(*_shown(columns)).select_from(join) for join, columns in joined)
    ).subquery("found")
    first = select(found).order_by(*ordered(found.c, newest_first=newest)).limit(most).subquery()
    edge = _edge_of(candidates, newest_first=newest)
    return (
        select(edge, first)
        .select_from(edge.outerjoin(first, true()))
        .order_by(*ordered(first.c, newest_first=newest))
    )


def count_statement(stretch: Stretch) -> Select[Any]:
    """Compose what `count_stretch` asks."""
    candidates = walked(stretch)
    joined = [passing(stretch.path, candidates, table) for table in (TASKS, FINISHED_TASKS)]
    found = union_all(
        *(select(columns.state).select_from(join) for join, columns in joined)
    ).subquery("found")
    counts = select(found.c.state, func.count().label("count")).group_by(found.c.state).subquery()
    edge = _edge_of(candidates, newest_first=stretch.newest_first)
    return select(edge, counts).select_from(edge.outerjoin(counts, true()))


def state_statement(path: Path, state: TaskState, most: int) -> Select[Any]:
    """Compose what `count_state` asks."""
    table = FINISHED_TASKS if state in TERMINAL else TASKS
    ranges = union_all(
        *(
            select(literal(1).label("one"))
            .where(_in_range(table, path, state, priority))
            .limit(most)
            for priority in path.priorities
        )
    ).subquery("ranges")
    return select(func.count()).select_from(select(ranges).limit(most).subquery())


def _in_range(table: Table, path: Path, state: TaskState, priority: int) -> ColumnElement[bool]:
    return and_(
        table.c.tenant == path.tenant,
        table.c.state == state.value,
        table.c.priority == priority,
        table.c.create_time >= path.since,
        table.c.create_time <= path.until,
    )


def _shown(columns: Any) -> list[ColumnElement[Any]]:
    return [
        columns[name] if name in columns and name not in _LEFT_OUT else null().label(name)
        for name in _SHOWN
    ]


def _edge_of(candidates: CTE, *, newest_first: bool) -> Any:
    last = (
        select(candidates.c.create_time, candidates.c.id)
        .order_by(*ordered(candidates.c, newest_first=not newest_first))
        .limit(1)
        .subquery("last")
    )
    counted = select(func.count().label("walked")).select_from(candidates).subquery("counted")
    return (
        select(
            counted.c.walked,
            last.c.create_time.label("last_create_time"),
            last.c.id.label("last_id"),
        )
        .select_from(counted.outerjoin(last, true()))
        .subquery("edge")
    )


def _size_of(row: Any) -> int:
    """Return about how many bytes a task has by what may be large of what is shown."""
    given = (str(row["labels"]), str(row["attributes"]), *(row[name] for name in _LARGE))
    return _SIZE + sum(len(each.encode()) for each in given if each) + len(row["pause"] or b"")


def _edge(rows: Sequence[Any]) -> tuple[Place | None, int]:
    first = rows[0]
    if first["last_id"] is None:
        return None, 0
    return Place(first["last_create_time"], first["last_id"]), first["walked"]
