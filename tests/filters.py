"""Filters and rows made up by hypothesis, and how a filter is written."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from hypothesis import strategies as st

from meshkit.filtering import (
    BOOLEAN,
    INTEGER,
    MAP,
    NUMBER,
    STRING,
    STRING_MAP,
    STRINGS,
    TIME,
    UUID,
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
    enum,
)

Rows = list[dict[str, Any]]


class State(StrEnum):
    OPEN = "OPEN"
    DONE = "DONE"


FIELDS: Final = {
    "name": STRING,
    "state": enum(State),
    "attempts": INTEGER,
    "latency": NUMBER,
    "urgent": BOOLEAN,
    "due_time": TIME,
    "owner_id": UUID,
    "tags": STRINGS,
    "labels": STRING_MAP,
    "attributes": MAP,
}
ORDER: Final = [Operator.LT, Operator.LE, Operator.GT, Operator.GE]
EQUALITY: Final = [Operator.EQ, Operator.NE]

# Few of each kind, so that values meet; among them all that quoting, LIKE and JSON single out.
texts = st.text(alphabet="aAb*%_\\\"' é\n", max_size=3) | st.sampled_from(
    ["😀", "\uffff", "1", "true", "null", "2026-01-31T09:00:00.000000Z", "2026"]
)
keys = st.sampled_from(["a", "b-c", "d.e", 'f"', "ключ"])
times = st.sampled_from(
    [datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)]
) | st.datetimes(timezones=st.just(UTC))
numbers = st.sampled_from([0.0, -0.0, 0.1, 1.0, 5e-324, 1.7e308]) | st.floats(
    allow_nan=False, allow_infinity=False
)
integers = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
ids = st.sampled_from([uuid.UUID(int=0), uuid.UUID(int=1)]) | st.uuids()
decimals = (numbers.map(repr) | st.integers(-(10**30), 10**30).map(str)).map(Decimal)
json_values = (
    texts
    | numbers
    | st.integers(-3, 3)
    | st.integers(-(10**30), 10**30)
    | st.booleans()
    | times
    | st.none()
    | st.lists(texts, max_size=2)
    | st.dictionaries(keys, texts, max_size=1)
)


def _comparisons(field: str, values: Any, operators: list[Operator]) -> st.SearchStrategy[Filter]:
    return st.builds(Comparison, st.just(field), st.sampled_from(operators), values)


def _entries(field: str, values: Any, operators: list[Operator]) -> st.SearchStrategy[Filter]:
    return st.builds(Entry, st.just(field), keys, st.sampled_from(operators), values)


prefixes = texts.map(Prefix)
conditions: st.SearchStrategy[Filter] = st.one_of(
    _comparisons("name", texts, EQUALITY + ORDER),
    _comparisons("name", prefixes, EQUALITY),
    _comparisons("state", st.sampled_from([each.value for each in State]), EQUALITY),
    _comparisons("attempts", integers, EQUALITY + ORDER),
    _comparisons("latency", numbers, EQUALITY + ORDER),
    _comparisons("urgent", st.booleans(), EQUALITY),
    _comparisons("due_time", times, EQUALITY + ORDER),
    _comparisons("owner_id", ids, EQUALITY),
    st.sampled_from(["state", "attempts", "latency", "urgent", "due_time", "owner_id"]).map(
        Present
    ),
    st.builds(Contains, st.just("tags"), texts),
    st.builds(HasKey, st.sampled_from(["labels", "attributes"]), keys),
    _entries("labels", texts, EQUALITY + ORDER),
    _entries("labels", prefixes, EQUALITY),
    _entries("attributes", texts | decimals | times, EQUALITY + ORDER),
    _entries("attributes", prefixes | st.booleans(), EQUALITY),
)


def _joined(terms: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(terms, min_size=2, max_size=3).map(tuple)
    return terms | terms.map(Not) | several.map(And) | several.map(Or)


filters = _joined(_joined(_joined(conditions)))

rows: st.SearchStrategy[Rows] = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | texts,
            "state": st.sampled_from(State),
            "attempts": st.none() | st.integers(-3, 3),
            "latency": st.none() | numbers,
            "urgent": st.none() | st.booleans(),
            "due_time": st.none() | times,
            "owner_id": st.none() | ids,
            "tags": st.none() | st.lists(texts, max_size=3),
            "labels": st.none() | st.dictionaries(keys, texts, max_size=3),
            "attributes": st.none() | st.dictionaries(keys, json_values, max_size=4),
        }
    ),
    min_size=1,
    max_size=6,
)


def written(wanted: Filter) -> str:
    """Write a filter as its reader would find it: in parentheses only where it takes them."""
    match wanted:
        case And(terms):
            return " AND ".join(_enclosed(term, And) for term in terms)
        case Or(terms):
            return " OR ".join(_enclosed(term, And, Or) for term in terms)
        case Not(term):
            return f"NOT {_enclosed(term, And, Or, Not)}"
        case _:
            return _condition(wanted)


def quoted(text: str) -> str:
    """Write a text in quotes."""
    special = str.maketrans({each: f"\\{each}" for each in '\\"*'})
    return f'"{text.translate(special)}"'


def _condition(wanted: Comparison | Entry | Present | HasKey | Contains) -> str:
    match wanted:
        case Present(field):
            return f"{field}:*"
        case HasKey(field, key):
            return f"{field}:{quoted(key)}"
        case Contains(field, element):
            return f"{field}:{quoted(element)}"
        case Comparison(field, operator, value):
            return f"{field} {operator} {_value(value)}"
        case Entry(field, key, operator, value):
            return f"{field}.{quoted(key)} {operator} {_value(value)}"


def _enclosed(term: Filter, *loose: type) -> str:
    return f"({written(term)})" if isinstance(term, loose) else written(term)


def _value(value: object) -> str:
    match value:
        case Prefix(text):
            return f'{quoted(text)[:-1]}*"'
        case bool():
            return json.dumps(value)
        case datetime():
            return value.isoformat()
        case str():
            return quoted(value)
        case _:
            return str(value)
