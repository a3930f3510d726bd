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

from sqlalchemy import CTE, Boolean, ColumnElement, Integer, Table, Text, Uuid, bindparam, column
from sqlalchemy import and_, func, text, true
from sqlalchemy.dialects.postgresql import TIMESTAMP

from meshkit.filtering import to_sql
from services.task.domain.states import TERMINAL
from services.task.store.paths import By, Path
from services.task.tables import FINISHED_TASKS, TASKS

_FIRST_ID: Final = UUID(int=0)
_LAST_ID: Final = UUID(int=2**128 - 1)
_TIME: Final = TIMESTAMP(timezone=True)


@dataclass(frozen=True, slots=True)
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
    query = text(
        " UNION ALL ".join(f"({branch})" for branch in _branches(stretch))
        + f" {_order(newest)} LIMIT :most"
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


def passing(path: Path, candidates: CTE, table: Table) -> ColumnElement[bool]:
    """Select the rows of a table that are candidates and pass the path's check."""
    live = table is TASKS
    known = candidates.c.live
    conditions = [table.c.id == candidates.c.id, known.is_not(not live)]
    if path.by is not By.STATE:
        conditions.append(table.c.tenant == path.tenant)
        conditions.append(table.c.state.in_([state.value for state in path.states]))
    if path.check is not None:
        conditions.append(to_sql(path.check, columns_of(table)))
    return and_(true(), *conditions)


def columns_of(table: Table) -> dict[str, Any]:
    """Return where the fields of filters are in a table."""
    columns: dict[str, Any] = {each.name: each for each in table.c}
    columns["root_id"] = func.coalesce(table.c.root_id, table.c.id, type_=Uuid)
    columns.setdefault("end_time", func.cast(None, _TIME) if False else _no_time())
    return columns


def _no_time() -> ColumnElement[Any]:
    return text("NULL::timestamptz").columns() if False else _NO_TIME


def _branches(stretch: Stretch) -> Iterator[str]:
    path, newest = stretch.path, stretch.newest_first
    compared, bounded = ("<", ">=") if newest else (">", "<=")
    rest = (
        f"(create_time, {{id}}) {compared} (:time, :id) AND create_time {bounded} :bound"
        f" {_order(newest)} LIMIT :most"
    )
    match path.by:
        case By.STATE:
            for state in path.states:
                table = FINISHED_TASKS if state in TERMINAL else TASKS
                for priority in stretch.priorities:
                    yield (
                        f"{_select(table)} WHERE tenant = :tenant AND state = '{state.value}'"
                        f" AND priority = {priority:d} AND {rest.format(id='id')}"
                    )
        case By.PARENT:
            for table in (TASKS, FINISHED_TASKS):
                yield f"{_select(table)} WHERE parent_id = :key AND {rest.format(id='id')}"
        case By.ROOT:
            for table in (TASKS, FINISHED_TASKS):
                yield f"{_select(table)} WHERE root_id = :key AND {rest.format(id='id')}"
                yield f"{_select(table)} WHERE id = :key AND {rest.format(id='id')}"
        case By.TERM:
            yield (
                "SELECT task_id AS id, create_time, NULL::boolean AS live FROM task_terms"
                f" WHERE term = :key AND {rest.format(id='task_id')}"
            )


def _select(table: Table) -> str:
    live = "true" if table is TASKS else "false"
    return f"SELECT id, create_time, {live} AS live FROM {table.name}"  # noqa: S608 - our own names


def _order(newest_first: bool) -> str:
    direction = "DESC" if newest_first else "ASC"
    return f"ORDER BY create_time {direction}, id {direction}"
