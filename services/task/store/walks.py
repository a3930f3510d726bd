"""Walks: candidates along a path, in the order of their creation, so many at a time.

A walk by state merges a range of an index for each state and priority: it reads as
many entries as it returns, and one more of each range, however long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    null,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from meshkit.filtering import to_sql
from services.task.domain.states import TERMINAL, TaskState
from services.task.store.paths import By, Path
from services.task.tables import FINISHED_TASKS, TASKS

_FIRST_ID: Final = UUID(int=0)
_LAST_ID: Final = UUID(int=2**128 - 1)
_TIME: Final = TIMESTAMP(timezone=True)
_TERMS: Final = (
    "SELECT id, create_time, live FROM"
    " (SELECT term, create_time, task_id AS id, NULL::boolean AS live FROM task_terms) AS terms"
)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a walk is: at the task with this id, made at this time."""

    create_time: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a path to be walked in one direction.

    Attributes:
        priorities: Of these only, if by state.
        newest_first: The direction.
        after: Where to go on; None from the end of the path.
        most: So many candidates.
    """

    path: Path
    priorities: Sequence[int]
    newest_first: bool
    after: Place | None
    most: int


def walked(stretch: Stretch) -> CTE:
    """Return the candidates of a stretch: `id`, `create_time`, and `live` where that is known."""
    path, newest = stretch.path, stretch.newest_first
    merged = " UNION ALL ".join(f"({branch})" for branch in _branches(stretch))
    query = text(
        f"SELECT id, create_time, live FROM ({merged}) AS merged {_order(newest)} LIMIT :most"  # noqa: S608 - our own names
    ).bindparams(
        *_key_parameters(path),
        bindparam("time", _start(stretch).create_time, _TIME),
        bindparam("id", _start(stretch).id, Uuid),
        bindparam("bound", path.since if newest else path.until, _TIME),
        bindparam("most", stretch.most, Integer),
    )
    columns = (column("id", Uuid), column("create_time", _TIME), column("live", Boolean))
    return query.columns(*columns).cte("walked").prefix_with("MATERIALIZED")


def ordered(columns: Any, *, newest_first: bool) -> list[ColumnElement[Any]]:
    """Return what to order by, to have the order of a walk."""
    keys = (columns.create_time, columns.id)
    return [key.desc() if newest_first else key.asc() for key in keys]


def passing(path: Path, candidates: CTE, table: Table) -> tuple[FromClause, Any]:
    """Join the candidates with their rows of a table that pass the path's check.

    Returns the join, and the columns of the table in it.
    """
    # A fence: the row is found by the id, and only then looked at.
    row = select(table).where(table.c.id == candidates.c.id).limit(1).lateral(f"of_{table.name}")
    conditions: list[ColumnElement[bool]] = [candidates.c.live.is_not(table is not TASKS)]
    if path.by is not By.STATE:
        conditions.append(row.c.tenant == path.tenant)
        if len(path.states) < len(TaskState):
            conditions.append(row.c.state.in_([state.value for state in path.states]))
    if path.check is not None:
        conditions.append(to_sql(path.check, columns_of(row.c)))
    return candidates.join(row, and_(*conditions)), row.c


def columns_of(row: Any) -> dict[str, Any]:
    """Return where the fields of filters are among the columns of a table."""
    columns: dict[str, Any] = {each.name: each for each in row}
    columns["root_id"] = func.coalesce(row.root_id, row.id, type_=Uuid)
    columns.setdefault("end_time", cast(null(), _TIME))
    return columns


def _start(stretch: Stretch) -> Place:
    path, after = stretch.path, stretch.after
    if stretch.newest_first:
        end = Place(path.until, _LAST_ID)
        return end if after is None else min(after, end)
    beginning = Place(path.since, _FIRST_ID)
    return beginning if after is None else max(after, beginning)


def _key_parameters(path: Path) -> list[BindParameter[Any]]:
    match path.by:
        case By.STATE:
            return [bindparam("tenant", path.tenant, Text)]
        case By.TERM:
            return [bindparam("key", path.key, BigInteger)]
        case _:
            return [bindparam("key", path.key, Uuid)]


def _branches(stretch: Stretch) -> Iterator[str]:
    compared, bounded = ("<", ">=") if stretch.newest_first else (">", "<=")
    rest = (
        f"(create_time, id) {compared} (:time, :id) AND create_time {bounded} :bound"
        f" {_order(stretch.newest_first)} LIMIT :most"
    )
    for source, condition in _sources(stretch):
        yield f"{source} WHERE {condition} AND {rest}"


def _sources(stretch: Stretch) -> Iterator[tuple[str, str]]:
    """Yield what to select from, and the condition that makes it a range of an index."""
    by = stretch.path.by
    if by is By.TERM:
        yield _TERMS, "term = :key"
    elif by is By.STATE:
        for state in stretch.path.states:
            for priority in stretch.priorities:
                condition = f"tenant = :tenant AND state = '{state}' AND priority = {priority:d}"
                yield _select(FINISHED_TASKS if state in TERMINAL else TASKS), condition
    else:
        for table in (TASKS, FINISHED_TASKS):
            yield _select(table), "parent_id = :key" if by is By.PARENT else "root_id = :key"
            if by is By.ROOT:
                yield _select(table), "id = :key"


def _select(table: Table) -> str:
    live = "true" if table is TASKS else "false"
    return f"SELECT id, create_time, {live} AS live FROM {table.name}"  # noqa: S608 - our own names


def _order(newest_first: bool) -> str:
    direction = "DESC" if newest_first else "ASC"
    return f"ORDER BY create_time {direction}, id {direction}"
