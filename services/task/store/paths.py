"""How the tasks that a filter selects are reached: by which index, and what is left to check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final
from uuid import UUID

from meshkit.filtering import And, Comparison, Filter, Operator, matches
from services.task.domain.filters import conjuncts, fields_of
from services.task.domain.states import TERMINAL, TaskState
from services.task.domain.terms import term_of

EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
PRIORITIES: Final = tuple(range(10))

_MICROSECOND: Final = timedelta(microseconds=1)


class By(Enum):
    """What the index goes by, before the time of creation."""

    STATE = auto()
    PARENT = auto()
    ROOT = auto()
    TERM = auto()


@dataclass(frozen=True, slots=True)
class Path:
    """A way to candidates, in the order of their creation.

    Attributes:
        key: The parent, root or term; None by state.
        states: The states that candidates may be in; by state, no others are met.
        priorities: The priorities that they may have; likewise.
        since: No candidate was created before.
        until: None was created after.
        check: What is to be checked of each.
        exact: Whether nearly all candidates pass.
    """

    tenant: str
    by: By
    key: UUID | int | None
    states: tuple[TaskState, ...]
    priorities: tuple[int, ...]
    since: datetime
    until: datetime
    check: Filter | None
    exact: bool

    @property
    def leads_nowhere(self) -> bool:
        """Whether no task can pass."""
        return not self.states or not self.priorities or self.since > self.until


def path_of(
    tenant: str,
    wanted: Filter | None,
    *,
    states: Iterable[TaskState] = tuple(TaskState),
    until: datetime = LATEST,
    by_state: bool = False,
) -> Path:
    """Choose the way to the tasks of a tenant that a filter selects.

    `states` and `until` confine it further; `by_state` leaves no choice.
    """
    terms = conjuncts(wanted)
    served = {term for term in terms if _is_served(term)}
    since, until = _times(terms, until)
    by, key, chosen = (By.STATE, None, None) if by_state else _choice(tenant, terms)
    allowed = tuple(state for state in states if _allows(terms, "state", state.value))
    if any(_requires_end(term) for term in terms):
        allowed = tuple(state for state in allowed if state in TERMINAL)
    if by is By.STATE:
        rest = [term for term in terms if term not in served]
        exact = not rest
    else:
        rest = list(terms)
        exact = set(terms) <= {chosen}
    return Path(
        tenant,
        by,
        key,
        allowed,
        tuple(each for each in PRIORITIES if _allows(terms, "priority", each)),
        since,
        until,
        _joined(rest),
        exact,
    )


def _choice(tenant: str, terms: Iterable[Filter]) -> tuple[By, UUID | int | None, Filter | None]:
    """Choose the condition that most likely selects the fewest tasks."""
    by_term: tuple[By, int, Filter] | None = None
    by_root: tuple[By, UUID, Filter] | None = None
    for term in terms:
        match term:
            case Comparison("parent_id", Operator.EQ, UUID() as value):
                return By.PARENT, value, term
            case Comparison("root_id", Operator.EQ, UUID() as value):
                by_root = By.ROOT, value, term
            case _:
                if by_term is None and (digest := term_of(tenant, term)) is not None:
                    by_term = By.TERM, digest, term
    return by_term or by_root or (By.STATE, None, None)


def _is_served(term: Filter) -> bool:
    """Tell whether the ranges of a path by state hold exactly what a condition is true of."""
    match term:
        case Comparison("create_time", operator, _):
            return operator is not Operator.NE
        case _:
            return fields_of(term) in ({"state"}, {"priority"})


def _allows(terms: Iterable[Filter], field: str, value: object) -> bool:
    return all(matches(term, {field: value}) for term in terms if fields_of(term) == {field})


def _requires_end(term: Filter) -> bool:
    return fields_of(term) == {"end_time"} and not matches(term, {})


def _times(terms: Iterable[Filter], until: datetime) -> tuple[datetime, datetime]:
    since = EARLIEST
    for term in terms:
        match term:
            case Comparison("create_time" | "end_time" as field, operator, datetime() as value):
                lower, upper = _bounds(operator, value)
                # What has ended before a time was created before.
                since = max(since, lower) if field == "create_time" else since
                until = min(until, upper)
    return since, until


def _bounds(operator: Operator, value: datetime) -> tuple[datetime, datetime]:
    match operator:
        case Operator.EQ:
            return value, value
        case Operator.LT:
            return EARLIEST, max(value, EARLIEST + _MICROSECOND) - _MICROSECOND
        case Operator.LE:
            return EARLIEST, value
        case Operator.GT:
            return min(value, LATEST) + _MICROSECOND, LATEST
        case Operator.GE:
            return value, LATEST
        case _:
            return EARLIEST, LATEST


def _joined(terms: list[Filter]) -> Filter | None:
    if len(terms) < 2:
        return terms[0] if terms else None
    return And(tuple(terms))
