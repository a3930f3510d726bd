"""What a caller says of a task becomes the message that says the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agentmesh import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    Fairness,
    Placement,
    RateLimit,
    RetryPolicy,
    Task,
)
from agentmesh.client.new_task import creation_of
from agentmesh.ids import new_id, time_of
from agentmesh.policies import Policy
from agentmesh.policy_messages import fill, read
from mesh.task.v1 import task_pb2, task_policy_pb2

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (RetryPolicy(SECOND, 3.0, 2 * SECOND, 0.5, ("A", "B")), task_policy_pb2.RetryPolicy()),
        (RetryPolicy(), task_policy_pb2.RetryPolicy()),
        (Deadlines(SECOND, None, timedelta(days=2), SECOND), task_policy_pb2.Deadlines()),
        (
            Placement("a", ">=1", {"x": "y"}, {"p": "q"}, ("b",), "c", SECOND, "build"),
            task_policy_pb2.Placement(),
        ),
        (Fairness("team", 2.0), task_policy_pb2.Fairness()),
        (ConcurrencyLimit("k", 3, "CANCEL_OLDEST"), task_policy_pb2.ConcurrencyLimit()),
        (RateLimit("k", 3, timedelta(minutes=1), 2), task_policy_pb2.RateLimit()),
        (Budget(3, 4, 5, 6.5), task_policy_pb2.Budget()),
        (Dependency("t", "ENDED"), task_policy_pb2.Dependency()),
    ],
)
def test_a_policy_comes_back(policy: Policy, message: Any) -> None:
    fill(message, policy)
    assert read(message, type(policy)) == policy


def test_a_wait_of_no_time_is_not_the_default() -> None:
    message = task_policy_pb2.RetryPolicy()
    fill(message, RetryPolicy(initial_backoff=0, max_backoff=1.5))
    assert message.HasField("initial_backoff")
    assert message.max_backoff.ToTimedelta() == timedelta(seconds=1.5)


def test_all_options_are_carried() -> None:
    other = Task(task_pb2.Task(id="other"))
    expiry = datetime(2030, 1, 1, tzinfo=UTC)
    request, large = creation_of(
        "some.thing",
        {"a": 1},
        {
            "priority": 9,
            "labels": {"a": "b"},
            "attributes": {"amount": 3.5, "paid": True, "name": "x"},
            "max_attempts": 7,
            "schedule": timedelta(seconds=5),
            "expire_time": expiry,
            "retry": RetryPolicy(non_retryable_types=["Hopeless"]),
            "deadlines": Deadlines(total=60),
            "placement": Placement(build_id="b"),
            "fairness": ("team", 2),
            "concurrency": [ConcurrencyLimit("c", 1)],
            "rate_limits": [RateLimit("r", 2)],
            "parent": other,
            "dependencies": [other, "second", Dependency("third", "FAILED")],
            "needs_any": True,
            "budget": Budget(max_tasks=3),
            "request_id": "once",
        },
    )
    task = request.task
    assert large is None
    assert (request.request_id, task.priority, task.max_attempts) == ("once", 9, 7)
    assert (task.delay.seconds, task.expire_time.ToDatetime(UTC)) == (5, expiry)
    assert (task.fairness.key, task.fairness.weight, task.parent_id) == ("team", 2, "other")
    assert [each.task_id for each in task.dependencies.tasks] == ["other", "second", "third"]
    policy = Task(task).policy
    assert policy.needs_any
    assert policy.dependencies[2] == Dependency("third", "FAILED")
    assert (policy.budget, policy.placement) == (Budget(max_tasks=3), Placement(build_id="b"))
    assert Task(task).attributes == {"amount": 3.5, "paid": True, "name": "x"}


def test_a_time_without_a_zone_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="astimezone"):
        creation_of("some.thing", None, {"schedule": datetime(2030, 1, 1)})  # noqa: DTZ001


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(TypeError, match="'prio'; there are priority, labels"):
        creation_of("some.thing", None, {"prio": 1})  # type: ignore[typeddict-unknown-key]


def test_ids_are_of_their_time_and_sort_by_it() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(UUID(each).version == 7 and UUID(each).variant.startswith("spec") for each in made)
    assert before <= time_of(made[0]) <= time_of(made[-1]) <= datetime.now(UTC)
    assert sorted(each[:13] for each in made) == [each[:13] for each in made]


def test_an_accepted_task_says_what_was_sent() -> None:
    request, _ = creation_of("some.thing", {"a": 1}, {"schedule": 60})
    task = Task.accepted(request.task, new_id())
    assert (task.capability, task.input, task.state) == ("some.thing", {"a": 1}, "SCHEDULED")
    assert abs(task.create_time - datetime.now(UTC)) < timedelta(seconds=5)
    assert (task.result, task.error, task.is_done) == (None, None, False)
