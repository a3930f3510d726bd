"""Compiles filters for PostgreSQL, through SQLAlchemy."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Numeric,
    SQLColumnExpression,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    literal,
    not_,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from meshkit.filtering.literals import time_text
from meshkit.filtering.tree import (
    And,
    Comparison,
    Contains,
    Entry,
    EntryValue,
    Filter,
    HasKey,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
)

Column = SQLColumnExpression[Any]
Columns = (
    Mapping[str, Column | Callable[[str], ColumnElement[bool]]] | ReadOnlyColumnCollection[str, Any]
)
"""Where the fields are. A list may be an array, or a function from an element to the
condition that the list holds it; a map is a JSONB object. A table's `c` will do."""

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], ColumnElement[bool]]]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}
_EQUALITY: Final = (Operator.EQ, Operator.NE)
_ESCAPE: Final = "\\"


def to_sql(wanted: Filter, columns: Columns) -> ColumnElement[bool]:
    """Compile a filter to a condition that selects the rows it is true of.

    Every value is a bound parameter. Equality with an entry of a map is containment,
    `column @> '{"key": value}'`, and `map:key` is `column ? 'key'`, both of which a GIN
    index can serve; no comparison fails for what a row holds. Texts are ordered by
    the collation C, whatever the column's.
    """
    match wanted:
        case And(terms):
            return and_(*(to_sql(term, columns) for term in terms))
        case Or(terms):
            return or_(*(to_sql(term, columns) for term in terms))
        case Not(term):
            # What a comparison says of NULL is NULL: not true, so that NOT of it has to be.
            return to_sql(term, columns).is_not(true())
        case Contains(field, element):
            return _contains(columns[field], element)
        case _:
            return _condition(wanted, _column(columns, wanted.field))


def _condition(
    condition: Comparison | Entry | Present | HasKey, column: Column
) -> ColumnElement[bool]:
    match condition:
        case Present():
            return column.is_not(None)
        case HasKey(_, key):
            return _has_key(column, key)
        case Comparison(_, comparator, Prefix(text)):
            return _starts(column, text, comparator)
        case Comparison(_, comparator, value):
            return _compare(column, comparator, value)
        case Entry(_, key, comparator, value):
            return _entry(column, key, comparator, value)


def _column(columns: Columns, field: str) -> Column:
    column = columns[field]
    if not isinstance(column, SQLColumnExpression):
        raise TypeError(f"{field} is no list; give a column")
    return column


def _contains(
    target: Column | Callable[[str], ColumnElement[bool]], element: str
) -> ColumnElement[bool]:
    if isinstance(target, SQLColumnExpression):
        # Not contains(), which knows PostgreSQL's own array type only.
        return target.op("@>", is_comparison=True)(literal([element], ARRAY(Text)))
    return target(element)


def _compare(column: Column, comparator: Operator, value: object) -> ColumnElement[bool]:
    if isinstance(value, str) and comparator not in _EQUALITY:
        return _COMPARE[comparator](collate(column, "C"), value)
    return _COMPARE[comparator](column, bound(value))


def bound(value: object) -> object:
    """Return a value to compare a column with; a number may lie outside the column's range."""
    if isinstance(value, int) and not isinstance(value, bool):
        return literal(value, BigInteger)
    if isinstance(value, float):
        return literal(value, Double)
    return value


def _starts(column: Column, text: str, comparator: Operator) -> ColumnElement[bool]:
    pattern = text
    for special in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(special, _ESCAPE + special)
    like = column.like(pattern + "%", escape=_ESCAPE)
    return like if comparator is Operator.EQ else not_(like)


def _entry(
    column: Column, key: str, comparator: Operator, value: EntryValue
) -> ColumnElement[bool]:
    if comparator is Operator.NE:
        return and_(_has_key(column, key), not_(_entry(column, key, Operator.EQ, value)))
    if isinstance(value, Prefix):
        return _entry_text(column, key, _starts(column[key].astext, value.text, Operator.EQ))
    if comparator is Operator.EQ:
        return column.op("@>", is_comparison=True)(_object(key, value))
    if isinstance(value, Decimal):
        # A CASE, because the two sides of an AND may be evaluated in either order.
        number = cast(column[key], Numeric)
        ordered = _COMPARE[comparator](number, literal(value, Numeric))
        return case((_is(column, key, "number"), ordered))
    text = time_text(value) if isinstance(value, datetime) else value
    return _entry_text(column, key, _compare(column[key].astext, comparator, text))


def _entry_text(column: Column, key: str, holds: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(_is(column, key, "string"), holds)


def _is(column: Column, key: str, json_type: str) -> ColumnElement[bool]:
    return func.jsonb_typeof(column[key]) == json_type


def _has_key(column: Column, key: str) -> ColumnElement[bool]:
    return column.op("?", is_comparison=True)(literal(key, Text))


def _object(key: str, value: str | bool | Decimal | datetime) -> ColumnElement[Any]:
    """Write `{"key": value}`, a number with all its digits."""
    if isinstance(value, datetime):
        value = time_text(value)
    written = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return cast(literal(f"{{{json.dumps(key)}: {written}}}", Text), JSONB)
