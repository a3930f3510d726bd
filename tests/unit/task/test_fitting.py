"""Which agents may work on a task, and which should."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.task.dispatch.fitting import Fit, Routing, fit, in_range, is_range
from services.task.domain.lanes import BUCKETS, UNROUTED, LaneKey, bucket_of
from services.task.domain.policy import Placement
from services.task.domain.task import Agent

ME, OTHER = UUID(int=1), UUID(int=2)
AGENT = Agent(
    ME, "acme", "me", {"text.count": "1.5.0", "text.bare": ""}, {"zone": "a", "gpu": "no"}
)


def verdict(
    capability: str = "text.count",
    *,
    bucket: int = UNROUTED,
    routing: Routing | None = None,
    **asks: Any,
) -> Fit:
    key = LaneKey("acme", capability, 0, Placement(**asks), "", bucket)
    return fit(key, AGENT, "blue", routing)


@pytest.mark.parametrize(
    ("asks", "wanted"),
    [
        ({}, Fit.YES),
        ({"agent_id": str(ME)}, Fit.YES),
        ({"agent_id": str(OTHER)}, Fit.NO),
        ({"excluded_agent_ids": (str(ME), str(OTHER))}, Fit.NO),
        ({"excluded_agent_ids": (str(OTHER),)}, Fit.YES),
        ({"required_labels": (("zone", "a"),)}, Fit.YES),
        ({"required_labels": (("zone", "a"), ("gpu", "yes"))}, Fit.NO),
        ({"required_labels": (("rack", "7"),)}, Fit.NO),
        ({"version": ">=1.2,<2"}, Fit.YES),
        ({"version": ">=2"}, Fit.NO),
        ({"build_id": "blue"}, Fit.YES),
        ({"build_id": "green"}, Fit.NO),
        ({"preferred_agent_id": str(ME)}, Fit.YES),
        ({"preferred_agent_id": str(OTHER)}, Fit.LATER),
        ({"preferred_labels": (("zone", "a"),)}, Fit.YES),
        ({"preferred_labels": (("zone", "b"),)}, Fit.LATER),
        ({"preferred_labels": (("zone", "b"),), "preferred_agent_id": str(ME)}, Fit.YES),
        # What is preferred doesn't make up for what is required.
        ({"preferred_agent_id": str(ME), "version": ">=2"}, Fit.NO),
    ],
)
def test_an_agent_is_held_against_what_was_asked(asks: dict[str, Any], wanted: Fit) -> None:
    assert verdict(**asks) is wanted


def test_an_agent_without_a_version_is_in_no_range() -> None:
    assert verdict("text.bare") is Fit.YES
    assert verdict("text.bare", version=">=0") is Fit.NO


@pytest.mark.parametrize(
    ("routing", "bucket", "wanted"),
    [
        (Routing("blue", "", 0), 7, Fit.YES),
        (Routing("green", "", 0), 7, Fit.NO),
        (Routing("green", "blue", 8), 7, Fit.YES),
        (Routing("green", "blue", 7), 7, Fit.NO),
        (Routing("blue", "green", 7), UNROUTED, Fit.YES),
        (Routing("blue", "green", 100), UNROUTED, Fit.YES),
    ],
)
def test_build_routing_decides_for_tasks_that_name_no_build(
    routing: Routing, bucket: int, wanted: Fit
) -> None:
    assert verdict(routing=routing, bucket=bucket) is wanted
    # A task that names its build gets it, whatever the routing.
    assert verdict(routing=routing, bucket=bucket, build_id="blue") is Fit.YES


@pytest.mark.parametrize("percent", range(0, 101, 10))
def test_a_ramping_build_gets_its_share_of_the_buckets(percent: int) -> None:
    routing = Routing("blue", "green", percent)
    builds = [routing.build_for(bucket) for bucket in range(BUCKETS)]
    assert builds.count("green") == percent


def test_a_task_is_always_in_the_same_bucket() -> None:
    task_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert bucket_of(task_id) == bucket_of(UUID(str(task_id)))
    assert {bucket_of(UUID(int=n)) for n in range(1000)} == set(range(BUCKETS))


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("1.5", ">=1.2,<2", True),
        ("2.0", ">=1.2,<2", False),
        ("1.5rc1", ">=1.2", True),
        ("1.5.1", "~=1.5.0", True),
        ("nightly", ">=0", False),
    ],
)
def test_ranges_are_those_of_pep_440(version: str, wanted: str, inside: bool) -> None:
    assert in_range(version, wanted) is inside


def test_what_is_no_range_is_known() -> None:
    assert is_range(">=1.2,<2")
    assert is_range("")
    assert not is_range("newest")
