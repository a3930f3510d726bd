"""Filters of tasks: the fields there are, and what a task has in them.

`create_time` and the rest are named as in the API; states are written as there, in
capitals, and read as the domain's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meshkit.filtering import (
    INTEGER,
    MAP,
    STRING,
    STRING_MAP,
    TIME,
    UUID,
    And,
    Comparison,
    Fields,
    Filter,
    Not,
    Or,
    enum,
    matches,
    parse,
)
from services.task.domain.states import TaskState
from services.task.domain.task import Task, TaskEvent

FIELDS: Final[Fields] = {
    "state": enum(state.name for state in TaskState),
    "capability": STRING,
    "agent_id": UUID,
    "priority": INTEGER,
    "creator": STRING,
    "parent_id": UUID,
    "root_id": UUID,
    "replay_of": UUID,
    "create_time": TIME,
    "end_time": TIME,
    "labels": STRING_MAP,
    "attributes": MAP,
}
"""What tasks may be filtered by."""


def read_filter(text: str) -> Filter | None:
    """Read a filter of tasks; None if it is blank, which selects all.

    Raises:
        InvalidArgument: It can't be read.
    """
    wanted = parse(text, FIELDS)
    return None if wanted is None else _with_own_states(wanted)


def conjuncts(wanted: Filter | None) -> tuple[Filter, ...]:
    """Return the conditions all of which a filter asks for."""
    if wanted is None:
        return ()
    if isinstance(wanted, And):
        return tuple(each for term in wanted.terms for each in conjuncts(term))
    return (wanted,)


def fields_of(wanted: Filter) -> frozenset[str]:
    """Return the fields that a filter names."""
    return frozenset(_fields(wanted))


def is_wanted(wanted: Filter | None, event: TaskEvent, task: Task) -> bool:
    """Tell whether a filter is true of a task as it was right after an event.

    Its labels, attributes and priority are those it has now.
    """
    if wanted is None:
        return True
    values: dict[str, object] = {
        "state": event.state.value,
        "capability": task.capability,
        "agent_id": event.agent_id,
        "priority": task.priority,
        "creator": task.creator,
        "parent_id": task.parent_id,
        "root_id": task.root,
        "replay_of": task.replay_of,
        "create_time": task.create_time,
        "end_time": event.time if event.is_last else None,
        "labels": task.labels,
        "attributes": task.attributes,
    }
    return matches(wanted, values)


def _with_own_states(wanted: Filter) -> Filter:
    match wanted:
        case And(terms):
            return And(tuple(_with_own_states(term) for term in terms))
        case Or(terms):
            return Or(tuple(_with_own_states(term) for term in terms))
        case Not(term):
            return Not(_with_own_states(term))
        case Comparison("state", operator, value):
            return Comparison("state", operator, TaskState[str(value)].value)
        case _:
            return wanted


def _fields(wanted: Filter) -> Iterator[str]:
    match wanted:
        case And(terms) | Or(terms):
            for term in terms:
                yield from _fields(term)
        case Not(term):
            yield from _fields(term)
        case _:
            yield wanted.field
