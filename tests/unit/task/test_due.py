"""When the engine must look at a task, unasked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.task.domain.policy import PLAIN, Deadlines, Policy
from services.task.domain.states import TaskState
from services.task.domain.task import Task

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


DEADLINES = Policy(
    deadlines=Deadlines(queue=10, attempt=20, heartbeat=5, total=100), expire_time=at(50)
)
NEVER = Policy(fairness_key="red")


def task(state: TaskState, policy: Policy = PLAIN, **fields: Any) -> Task:
    whole = Task(
        id=UUID(int=1),
        tenant="acme",
        capability="text.count",
        state=state,
        priority=0,
        lane=1,
        attempt=0,
        max_attempts=3,
        epoch=0,
        creator="key:tester",
        create_time=NOW,
        ready_time=at(1),
        last_sequence=1,
        policy=policy,
    )
    return replace(whole, **fields)


@pytest.mark.parametrize("policy", [PLAIN, NEVER])
def test_without_deadlines_only_leases_and_times_are_due(policy: Policy) -> None:
    assert task(TaskState.QUEUED, policy).next_due() is None
    assert task(TaskState.PAUSED, policy).next_due() is None
    assert task(TaskState.SCHEDULED, policy).next_due() == at(1)
    assert task(TaskState.SCHEDULED, policy, awaits=2).next_due() is None
    assert task(TaskState.RUNNING, policy, lease_time=at(30)).next_due() == at(30)
    stopping = task(TaskState.RUNNING, policy, lease_time=at(30), cancel_by=at(10))
    assert stopping.next_due() == at(10)


@pytest.mark.parametrize(
    ("state", "fields", "due"),
    [
        # Queued: its wait since it was ready.
        (TaskState.QUEUED, {}, 11),
        (TaskState.QUEUED, {"ready_time": at(45)}, 50),
        (
            TaskState.QUEUED,
            {"ready_time": at(45), "policy": replace(DEADLINES, expire_time=None)},
            55,
        ),
        # Scheduled: its time, or the end of it all.
        (TaskState.SCHEDULED, {"ready_time": at(7)}, 7),
        (TaskState.SCHEDULED, {"ready_time": at(500)}, 50),
        (TaskState.SCHEDULED, {"awaits": 1}, 50),
        (TaskState.PAUSED, {}, 50),
        # Running: its lease, its handler, its attempt and the total, but it does not expire.
        (TaskState.RUNNING, {"start_time": at(40), "seen_time": at(40), "lease_time": at(44)}, 44),
        (TaskState.RUNNING, {"start_time": at(40), "seen_time": at(50), "lease_time": at(70)}, 55),
        (TaskState.RUNNING, {"start_time": at(40), "seen_time": at(59), "lease_time": at(70)}, 60),
        (
            TaskState.RUNNING,
            {"start_time": at(90), "seen_time": at(98), "lease_time": at(120)},
            100,
        ),
        (
            TaskState.RUNNING,
            {"start_time": at(90), "seen_time": at(98), "lease_time": at(99), "cancel_by": at(91)},
            91,
        ),
    ],
)
def test_the_first_deadline_is_due(state: TaskState, fields: dict[str, Any], due: float) -> None:
    assert task(state, **{"policy": DEADLINES, **fields}).next_due() == at(due)
