"""The checker finds what is wrong with what agents and clients saw: fed with good and bad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.checks.calls import Asked, Window, asked_by_clients, noticed, wrong_ends
from tests.chaos.checks.events import Ended
from tests.chaos.checks.made import A, B
from tests.chaos.checks.reports import Seen, seen_by_agents, unanswered_after, wrong_reports


def agent_line(ev: str, epoch: int = 1, **more: Any) -> dict[str, Any]:
    return {"ev": ev, "task": str(A), "epoch": epoch, **more}


def found(seen: Seen, stored: Mapping[UUID, Ended]) -> set[str]:
    return {what for what, where in wrong_reports(seen, stored) if where}


FINE = [
    agent_line("start"),
    agent_line("receipt", kind="completion", accepted=True),
    agent_line("receipt", kind="completion", accepted=True),
    agent_line("receipt", kind="late", accepted=False),
]


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([], set()),
        ([agent_line("start")], {"leases given twice"}),
        ([agent_line("receipt", kind="stale", accepted=True)], {"stale reports accepted"}),
        ([agent_line("receipt", kind="late", accepted=True)], {"late reports accepted"}),
        (
            [agent_line("receipt", kind="contradiction", accepted=True)],
            {"contradiction reports accepted"},
        ),
        ([agent_line("receipt", kind="failure", accepted=True)], {"leases with two ends"}),
        ([agent_line("receipt", kind="failure", accepted=False)], set()),
        (
            [agent_line("receipt", 2, kind="completion", accepted=True)],
            {"completions accepted wrongly"},
        ),
        ([agent_line("disorder")], {"receipts out of order"}),
        ([agent_line("believed")], {"leases kept that nobody had"}),
        ([agent_line("wrong answer")], {"answers that went astray"}),
        ([agent_line("hollow")], {"tasks given to agents without their input"}),
    ],
)
def test_what_agents_saw_is_held_against_what_may_be(
    lines: list[dict[str, Any]], wrong: set[str]
) -> None:
    stored = {A: Ended("succeeded", 1, 3, 1, 3, None)}
    assert found(seen_by_agents([*FINE, *lines]), stored) == wrong


@pytest.mark.parametrize("state", ["cancelled", "failed", "dead_lettered"])
def test_a_completion_that_was_accepted_is_one_of_a_task_that_succeeded(state: str) -> None:
    stored = {A: Ended(state, 1, 3, 1, 3, None)}
    assert found(seen_by_agents(FINE), stored) == {"completions accepted wrongly"}
    assert found(seen_by_agents(FINE), {}) == {"completions accepted wrongly"}


def test_an_answer_comes_with_every_lease_after_it() -> None:
    seen = seen_by_agents(
        [agent_line("start", 1, answered=False), agent_line("start", 2, answered=True)]
    )
    assert not list(unanswered_after(seen, {A: 1}))
    seen = seen_by_agents([agent_line("start", 2, answered=False)])
    assert list(unanswered_after(seen, {A: 1})) == [f"{A} at 2"]


def client_line(**fields: Any) -> dict[str, Any]:
    line = {"id": "1", "op": "create", "result": "ok", "ids": [str(A)], "code": ""}
    return {"start": 10.0, "end": 11.0, **line, **fields}


REFUSED = {"result": "refused", "ids": []}
UNKNOWN = {"result": "unknown", "ids": []}


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([client_line(), client_line()], set()),
        ([client_line(ids=[""])], set()),
        ([client_line(), client_line(ids=[str(B)])], {"requests with two tasks"}),
        ([client_line(other=str(B))], {"requests with two tasks"}),
        ([client_line(), client_line(id="2")], {"requests that share a task"}),
        ([client_line(**REFUSED, code="INVALID_ARGUMENT : no")], {"creations refused"}),
        ([client_line(**REFUSED, code="FAILED_PRECONDITION TASK_STATE_CONFLICT: no")], set()),
        ([client_line(**REFUSED, op="cancel", code="NOT_FOUND : no")], set()),
        ([client_line(**UNKNOWN, code="UNAVAILABLE : no")], set()),
        (
            [client_line(**UNKNOWN, code="INTERNAL INTERNAL: no")],
            {"calls answered as a fault of the service"},
        ),
    ],
)
def test_what_clients_saw_is_held_against_what_may_be(
    lines: list[dict[str, Any]], wrong: set[str]
) -> None:
    assert set(asked_by_clients(lines).amiss) == wrong


def ends(asked: Asked, stored: Ended) -> set[str]:
    return {what for what, where in wrong_ends(asked, {A: stored}) if where}


@pytest.mark.parametrize(
    ("line", "state", "wrong"),
    [
        (client_line(facts=[{"never": True}]), "failed", ""),
        (client_line(facts=[{"never": True}]), "succeeded", "tasks that succeeded and can't"),
        (client_line(cancelled=str(A), grace=None), "succeeded", ""),
        (
            client_line(cancelled=str(A), grace=0),
            "succeeded",
            "tasks that went on after their cancellation",
        ),
        (
            client_line(cancelled=str(A), grace=None),
            "dead_lettered",
            "tasks that went on after their cancellation",
        ),
        (client_line(ended="succeeded", sequences=[1, 2, 3]), "succeeded", ""),
        (client_line(ended="failed"), "succeeded", "tasks that ended otherwise than told"),
        (
            client_line(ended="succeeded", sequences=[1, 3]),
            "succeeded",
            "tasks that ended otherwise than told",
        ),
        (
            client_line(ended="succeeded", sequences=[1, 2, 2, 3]),
            "succeeded",
            "tasks that ended otherwise than told",
        ),
        (client_line(facts=[{"parent": str(B)}]), "succeeded", "parents that were lost"),
    ],
)
def test_ends_are_held_against_what_was_asked_and_told(
    line: dict[str, Any], state: str, wrong: str
) -> None:
    stored = Ended(state, 1, 3, 1, 3, None)
    assert ends(asked_by_clients([line]), stored) == ({wrong} if wrong else set())


def test_a_call_that_fails_is_forgiven_only_while_a_fault_is_there() -> None:
    asked = asked_by_clients([client_line(**UNKNOWN, sdk=True, code="UNAVAILABLE : no")])
    assert not list(noticed(asked, [Window(10.5, 20)]))
    assert len(list(noticed(asked, [Window(0, 9), Window(12, 20)]))) == 1
    assert len(list(noticed(asked, []))) == 1
    by_hand = asked_by_clients([client_line(**UNKNOWN, code="UNAVAILABLE : no")])
    assert not list(noticed(by_hand, []))
