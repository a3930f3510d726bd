"""Policies of every kind, for properties."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from hypothesis import strategies as st

from services.task.domain.policy import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    DependencyCondition,
    LimitStrategy,
    Placement,
    Policy,
    RateLimit,
    Retry,
)

# Durations travel in nanoseconds.
_seconds = st.integers(1, 10**9).map(lambda value: value / 1000)
_words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
_keys = _words.map(lambda text: text[:20])
_ids = st.uuids().map(str)
_labels = st.dictionaries(_keys, _keys, max_size=3).map(
    lambda labels: tuple(sorted(labels.items()))
)

_placements = st.builds(
    Placement,
    agent_id=st.just("") | _ids,
    version=st.sampled_from(["", ">=1.2,<2"]),
    required_labels=_labels,
    preferred_labels=_labels,
    excluded_agent_ids=st.sets(_ids, max_size=3).map(lambda ids: tuple(sorted(ids))),
    patience=_seconds,
    build_id=st.just("") | _keys,
)


_Limits = TypeVar("_Limits", ConcurrencyLimit, RateLimit)


def _unique(items: st.SearchStrategy[_Limits]) -> st.SearchStrategy[tuple[_Limits, ...]]:
    return st.lists(items, max_size=3, unique_by=lambda each: each.key).map(tuple)


@st.composite
def _rates(draw: st.DrawFn) -> RateLimit:
    limit = draw(st.integers(1, 1000))
    return RateLimit(draw(_keys), limit, draw(_seconds), draw(st.integers(1, limit)))


def _fairness(draw: st.DrawFn) -> tuple[str, float]:
    key = draw(st.just("") | _keys)
    return key, draw(st.floats(0.01, 1000)) if key else 1.0


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy as a caller may ask for it."""
    key, weight = _fairness(draw)
    dependencies = st.builds(Dependency, st.uuids(), st.sampled_from(DependencyCondition))
    some = st.none() | _seconds
    return Policy(
        retry=draw(
            st.builds(
                Retry,
                initial_backoff=some,
                multiplier=st.floats(1, 100),
                max_backoff=some,
                jitter=st.floats(0, 1),
                non_retryable_types=st.lists(_keys, max_size=3).map(tuple),
            )
        ),
        deadlines=draw(st.builds(Deadlines, queue=some, attempt=some, heartbeat=some, total=some)),
        placement=draw(_placements),
        fairness_key=key,
        fairness_weight=weight,
        concurrency_limits=draw(
            _unique(
                st.builds(
                    ConcurrencyLimit,
                    _keys,
                    st.integers(1, 100_000),
                    st.sampled_from(LimitStrategy),
                )
            )
        ),
        rate_limits=draw(_unique(_rates())),
        budget=draw(
            st.none()
            | st.builds(
                Budget,
                max_depth=st.integers(0, 64),
                max_tasks=st.integers(0, 2**40),
                max_tokens=st.integers(0, 2**40),
                max_cost=st.floats(0, 1e9),
            )
        ),
        dependencies=draw(
            st.lists(dependencies, max_size=3, unique_by=lambda each: each.task_id).map(tuple)
        ),
        needs_any=draw(st.booleans()),
        expire_time=draw(
            st.none()
            | st.datetimes(
                datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants it so and adds the zone
                datetime(2100, 1, 1),  # noqa: DTZ001 - the same
                timezones=st.just(UTC),
            )
        ),
        sticky_task_id=draw(st.just("") | _ids),
    )
