"""Evaluates filters in memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from meshkit.filtering.literals import time_text
from meshkit.filtering.tree import (
    And,
    Comparison,
    Contains,
    Entry,
    Filter,
    HasKey,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
)

Getter = Callable[[str], object]

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}


def matches(wanted: Filter, values: Mapping[str, object] | Getter) -> bool:
    """Tell whether a filter is true of a resource.

    `values` gives each field as its type has it: str, int, float, bool, datetime with an
    offset, UUID, a collection of str, or a mapping from str to str, numbers, bool and
    datetime; None, or nothing in a mapping, is no value. Numbers are finite.
    """
    return _matches(wanted, values.get if isinstance(values, Mapping) else values)


def _matches(wanted: Filter, get: Getter) -> bool:
    match wanted:
        case And(terms):
            return all(_matches(term, get) for term in terms)
        case Or(terms):
            return any(_matches(term, get) for term in terms)
        case Not(term):
            return not _matches(term, get)
        case _:
            value = get(wanted.field)
            return value is not None and _holds(wanted, value)


def _holds(
    condition: Comparison | Entry | Present | HasKey | Contains,
    value: Any,
) -> bool:
    match condition:
        case Present():
            return True
        case HasKey(_, key):
            return key in value
        case Contains(_, element):
            return element in value
        case Comparison(_, comparator, other):
            return _compares(value, comparator, other)
        case Entry(_, key, comparator, other):
            return key in value and _entry_compares(value[key], comparator, other)


def _compares(value: Any, comparator: Operator, other: object) -> bool:
    if isinstance(other, Prefix):
        return value.startswith(other.text) is (comparator is Operator.EQ)
    return _COMPARE[comparator](value, other)


def _entry_compares(value: object, comparator: Operator, other: object) -> bool:
    stored, sought = _as_stored(value), _as_stored(other)
    if not _comparable(stored, sought):
        return comparator is Operator.NE
    return _compares(stored, comparator, sought)


def _as_stored(value: object) -> object:
    """Turn a value into what its JSON is compared as: a number by its digits, a time as a text."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return value


def _comparable(stored: object, sought: object) -> bool:
    if isinstance(sought, Prefix):
        return isinstance(stored, str)
    return any(isinstance(stored, each) and isinstance(sought, each) for each in _STORED)


_STORED: Final[Collection[type]] = (str, bool, Decimal)
