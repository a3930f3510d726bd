"""Tasks that the model asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from hypothesis import strategies as st

from services.task.domain.policy import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    DependencyCondition,
    LimitStrategy,
    Policy,
    RateLimit,
)
from services.task.domain.task import NewTask

CAPABILITIES: Final = ("text.count", "text.other")
KEYS: Final = ("key-a", "key-b", "key-c")

# A rate whose bucket refills only when a step says so.
_PERIOD: Final = 360_000.0

_LIMITS: Final = st.lists(
    st.builds(
        ConcurrencyLimit,
        st.sampled_from(KEYS),
        st.integers(1, 2),
        st.sampled_from(LimitStrategy),
    ),
    max_size=2,
    unique_by=lambda limit: limit.key,
).map(tuple)
_RATES: Final = st.sampled_from([(), (), (RateLimit(KEYS[1], 2, _PERIOD),)])
_DEADLINES: Final = st.builds(
    Deadlines,
    queue=st.sampled_from([None, 90_000.0]),
    attempt=st.sampled_from([None, 90_000.0]),
    heartbeat=st.sampled_from([None, 90_000.0]),
    total=st.sampled_from([None, 180_000.0]),
)


@st.composite
def new_tasks(draw: st.DrawFn, ids: Sequence[UUID]) -> NewTask:
    """Draw a task; most ask for little."""
    policy, parent_id = Policy(), None
    if draw(st.integers(0, 2)) == 0:
        policy = draw(_policies(ids))
    # A budget is a root's.
    if policy.budget is None and ids and draw(st.integers(0, 3)) == 0:
        parent_id = draw(st.sampled_from(ids))
    request_id = draw(st.sampled_from(["", "", "", "one", "two", "three"]))
    return NewTask(
        capability=draw(st.sampled_from(CAPABILITIES)),
        input=b"input",
        max_attempts=draw(st.integers(1, 3)),
        priority=draw(st.sampled_from([0, 0, 5, 9])),
        policy=policy,
        parent_id=parent_id,
        delay=draw(st.sampled_from([0.0, 0.0, 0.0, 5000.0])),
        request_id=request_id,
        digest=draw(st.sampled_from([b"this", b"this", b"that"])),
    )


@st.composite
def _policies(draw: st.DrawFn, ids: Sequence[UUID]) -> Policy:
    kind = draw(st.sampled_from(["limits", "limits", "dependencies", "deadlines", "budget"]))
    match kind:
        case "limits":
            return Policy(concurrency_limits=draw(_LIMITS), rate_limits=draw(_RATES))
        case "dependencies" if ids:
            return draw(_dependent(ids))
        case "budget":
            return Policy(budget=Budget(max_depth=2, max_tasks=3))
        case _:
            return Policy(deadlines=draw(_DEADLINES))


@st.composite
def _dependent(draw: st.DrawFn, ids: Sequence[UUID]) -> Policy:
    chosen = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
    conditions = st.sampled_from(DependencyCondition)
    return Policy(
        dependencies=tuple(Dependency(each, draw(conditions)) for each in chosen),
        needs_any=draw(st.booleans()),
    )


@st.composite
def relatives(draw: st.DrawFn, task_id: UUID) -> NewTask:
    """Draw a task that depends on another or comes under it."""
    new = NewTask(capability=draw(st.sampled_from(CAPABILITIES)), input=b"input", max_attempts=2)
    if draw(st.booleans()):
        return replace(new, parent_id=task_id)
    return replace(new, policy=draw(_dependent([task_id])))
