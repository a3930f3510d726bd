"""Policies as they are stored and sent."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings

from mesh.task.v1 import task_pb2
from services.task.convert.policies import add_policy, policy_from_proto
from services.task.domain.policy import (
    PLAIN,
    Placement,
    Policy,
    placement_from_text,
    placement_to_text,
    policy_from_text,
    policy_to_text,
)
from tests.unit.task.policies import policies

patient = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


@patient
@given(policy=policies())
def test_what_is_stored_is_read_again(policy: Policy) -> None:
    text = policy_to_text(policy)
    read = policy_from_text(text)
    assert read == policy
    assert read.limit_keys == policy.limit_keys
    assert policy_to_text(read) == text


@patient
@given(policy=policies())
def test_a_placement_has_one_text(policy: Policy) -> None:
    text = placement_to_text(policy.placement)
    assert placement_from_text(text) == policy.placement
    assert placement_to_text(placement_from_text(text)) == text


@patient
@given(policy=policies())
def test_what_is_sent_is_what_was_asked_for(policy: Policy) -> None:
    message = task_pb2.Task()
    add_policy(message, policy)
    assert policy_from_proto(task_pb2.Task.FromString(message.SerializeToString())) == policy


def test_who_asks_for_nothing_costs_nothing() -> None:
    assert policy_from_proto(task_pb2.Task(capability="text.count")) is PLAIN
    assert policy_to_text(Policy()) is None
    assert policy_from_text(None) is PLAIN
    assert placement_to_text(Placement()) == ""


def test_only_what_differs_is_stored() -> None:
    text = policy_to_text(Policy(fairness_key="red", placement=Placement(version=">=1")))
    assert text is not None
    assert json.loads(text) == {"fairness_key": "red", "placement": {"version": ">=1"}}
