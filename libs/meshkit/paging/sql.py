"""Reads the rows of a page, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    and_,
    false,
    literal,
    or_,
    tuple_,
)
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from meshkit.filtering.sql import bound
from meshkit.paging.orders import Ordering
from meshkit.paging.pages import Keyset
from meshkit.paging.tokens import SortValue

SortColumns = Mapping[str, SQLColumnExpression[Any]] | ReadOnlyColumnCollection[str, Any]
"""Where the fields are that rows are ordered by."""

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


def paged(query: Query, wanted: Keyset, columns: SortColumns) -> Query:
    """Have a query return the rows of a page, and one more if more follow."""
    if wanted.after is not None:
        query = query.where(beyond(wanted.ordering, wanted.after, columns))
    return query.order_by(*sorting(wanted.ordering, columns)).limit(wanted.size + 1)


def sorting(ordering: Ordering, columns: SortColumns) -> list[ColumnElement[Any]]:
    """Return what to order rows by: those without a value come last ascending, first descending."""
    return [
        columns[key.field].desc() if key.descending else columns[key.field].asc()
        for key in ordering.keys
    ]


def beyond(
    ordering: Ordering, after: Sequence[SortValue], columns: SortColumns
) -> ColumnElement[bool]:
    """Select the rows that come after the one that has these values.

    Where an index can serve it, this compares rows, `(a, b) > (:a, :b)`: if all keys go
    one way and, ascending, no column can be NULL. Else it spells the comparison out.
    """
    steps = [
        _Step(_element(columns[key.field]), value, key.descending)
        for key, value in zip(ordering.keys, after, strict=True)
    ]
    if ordering.one_way and all(step.is_plain for step in steps):
        return _rows_beyond(steps)
    spelt_out = or_(*_alternatives(steps))
    # What the alternatives have in common, as a range that an index on the first key can serve.
    return and_(steps[0].not_before(), spelt_out) if steps[0].is_plain else spelt_out


@dataclass(frozen=True, slots=True)
class _Step:
    """What one key has to do with whether a row comes after."""

    column: ColumnElement[Any]
    value: SortValue
    descending: bool

    @property
    def is_plain(self) -> bool:
        """Whether no row without a value comes after: those come first, or there are none."""
        has_all = not getattr(self.column, "nullable", True)
        return self.value is not None and (self.descending or has_all)

    def bound(self) -> ColumnElement[Any]:
        """The value, as a parameter of the column's type."""
        value = bound(self.value)
        return value if isinstance(value, ColumnElement) else literal(value, self.column.type)

    def same(self) -> ColumnElement[bool]:
        """Select the rows with this value."""
        return self.column.is_(None) if self.value is None else self.column == self.bound()

    def not_before(self) -> ColumnElement[bool]:
        """Select the rows with this value or one after it."""
        value = self.bound()
        return self.column <= value if self.descending else self.column >= value

    def later(self) -> ColumnElement[bool]:
        """Select the rows with a value after this one."""
        if self.value is None:
            return self.column.is_not(None) if self.descending else false()
        if self.descending:
            return self.column < self.bound()
        above = self.column > self.bound()
        return above if self.is_plain else or_(above, self.column.is_(None))


def _rows_beyond(steps: Sequence[_Step]) -> ColumnElement[bool]:
    row = tuple_(*(step.column for step in steps))
    last = tuple_(*(step.bound() for step in steps))
    return row < last if steps[0].descending else row > last


def _alternatives(steps: Sequence[_Step]) -> Iterator[ColumnElement[bool]]:
    for position, step in enumerate(steps):
        yield and_(*(each.same() for each in steps[:position]), step.later())


def _element(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    if isinstance(column, QueryableAttribute):
        column = column.expression
    if not isinstance(column, ColumnElement):
        raise TypeError(f"{column} is no column")
    return column
