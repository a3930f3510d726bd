"""Filters and profiles of agents."""

from __future__ import annotations

import pytest

from mesh.registry.v1.agent_pb2 import Agent, Capability
from meshkit.errors import InvalidArgument
from meshkit.filtering import matches
from services.registry.convert import agent_filter, profile_from_proto
from services.registry.domain import AgentState
from services.registry.errors import CapabilityRepeated

AGENT = {
    "name": "counter-1",
    "state": AgentState.OFFLINE,
    "capability": {"text.count", "csv.sum"},
    "labels": {"zone": "eu"},
}


@pytest.mark.parametrize(
    ("expression", "matching"),
    [
        ("state = ONLINE", False),
        ('capability = "text.count" AND state = OFFLINE AND name = counter-1', True),
        ("capability:csv.sum AND -capability:csv", True),
        ("name = counter* AND labels.zone = eu AND NOT labels:gpu", True),
    ],
)
def test_a_filter_is_read(expression: str, matching: bool) -> None:
    wanted = agent_filter(expression)
    assert wanted is not None
    assert matches(wanted, AGENT) is matching


@pytest.mark.parametrize("expression", ["state = UNSPECIFIED", "state = ''", "id = 1"])
def test_a_filter_that_makes_no_sense_is_refused(expression: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        agent_filter(expression)
    assert refused.value.reason == "INVALID_FILTER"
    assert [each.field for each in refused.value.violations] == ["filter"]


def test_a_capability_is_declared_once() -> None:
    message = Agent(
        name="a", capabilities=[Capability(name="b", version="1"), Capability(name="b")]
    )
    with pytest.raises(CapabilityRepeated, match="'b' is declared twice"):
        profile_from_proto(message)
