"""What the demo takes exception to, in its tasks and in the figures of analytics."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentmesh.demo.figures import differences
from agentmesh.demo.script import End
from agentmesh.resources import Overview, Progress, TaskError, Totals
from tests.unit.demo.tasks import outcome

NAMES = {"1": "demo-words"}
NONE = timedelta(0)


def totals(succeeded: int, failed: int = 0, cancelled: int = 0) -> Totals:
    total = succeeded + failed + cancelled
    return Totals(total, succeeded, failed, cancelled, 1.0, NONE, NONE, NONE, NONE)


def overview(agent: Totals, capability: Totals) -> Overview:
    return Overview(
        totals(99),
        {"demo-words": agent, "a stranger": totals(9)},
        {"words.compare": capability, "a.stranger": totals(9)},
    )


def test_an_end_as_declared_is_no_difference() -> None:
    assert outcome(end=End("SUCCEEDED", "3 words shared")).difference == ""
    cancelled = outcome("CANCELLED", end=End("CANCELLED", "5 of 9"), progress=Progress(1, "5 of 9"))
    assert cancelled.difference == ""


@pytest.mark.parametrize(
    ("state", "end", "attempt", "difference"),
    [
        ("RUNNING", End("SUCCEEDED"), 1, "is still RUNNING after 60 s"),
        ("FAILED", End("SUCCEEDED"), 1, "ended FAILED, not SUCCEEDED: Oops: no"),
        ("FAILED", End("FAILED", "Other"), 1, "said 'Oops: no', without 'Other'"),
        ("FAILED", End("FAILED", attempts=2), 1, "took 1 attempts, not 2"),
    ],
)
def test_every_other_end_is_told(state: str, end: End, attempt: int, difference: str) -> None:
    ended = outcome(state, end=end, attempt=attempt, error=TaskError("Oops", "no"))
    assert ended.difference == difference


def test_a_result_of_another_form_is_told_as_it_is() -> None:
    strange = outcome(result="yes", end=End("SUCCEEDED", "3 words shared"))
    assert "not what the sample agent returns: 'yes'" in strange.difference


def test_figures_that_agree() -> None:
    outcomes = [outcome(), outcome("FAILED"), outcome("RUNNING")]
    agreeing = overview(totals(1, failed=1), totals(1, failed=1))
    assert list(differences(agreeing, outcomes, NAMES)) == []


def test_figures_that_differ_are_told_by_kind_and_by_agent() -> None:
    outcomes = [outcome(), outcome("CANCELLED")]
    assert list(differences(overview(totals(2), totals(1)), outcomes, NAMES)) == [
        "analytics has 1 succeeded of words.compare, and the demo saw 1 cancelled, 1 succeeded",
        "analytics has 2 succeeded of demo-words, and the demo saw 1 cancelled, 1 succeeded",
    ]


def test_figures_that_are_missing_are_told() -> None:
    nothing = Overview(totals(0), {}, {})
    assert list(differences(nothing, [outcome()], NAMES)) == [
        "analytics has nothing of words.compare, and the demo saw 1 succeeded",
        "analytics has nothing of demo-words, and the demo saw 1 succeeded",
    ]
