"""The checker finds what is wrong: each check is fed with a history that is, and one that isn't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.checks.books import unbalanced
from tests.chaos.checks.calls import Asked, Window, asked_by_clients, noticed, wrong_ends
from tests.chaos.checks.events import Ended, Event, life_of
from tests.chaos.checks.families import Needs, outlived, started_too_early, too_many_children
from tests.chaos.checks.limits import too_many_at_a_time, too_many_in_a_time
from tests.chaos.checks.lives import wrong_life
from tests.chaos.checks.reports import Seen, seen_by_agents, unanswered_after, wrong_reports
from tests.chaos.work import FATAL

A, B, C = (UUID(int=number) for number in (1, 2, 3))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

# What an event leaves behind: the state, and by how much attempt and epoch grow.
AFTER = {
    "created": ("queued", 0, 0),
    "started": ("running", 1, 1),
    "cancel_requested": ("running", 0, 0),
    "retrying": ("queued", 0, 0),
    "released": ("queued", -1, 0),
    "paused": ("paused", 0, 0),
    "resumed": ("queued", -1, 0),
    "succeeded": ("succeeded", 0, 0),
    "failed": ("failed", 0, 0),
    "cancelled": ("cancelled", 0, 0),
}


def history(*types: str, task: UUID = A, at: int = 0) -> list[Event]:
    """Return the events of a task that did these steps, at positions from `at`."""
    events: list[Event] = []
    attempt = epoch = 0
    for number, type_ in enumerate(types, start=1):
        state, more, later = AFTER[type_]
        attempt, epoch = attempt + more, epoch + later
        time = BEGIN + timedelta(seconds=at + number)
        events.append(Event(at + number, task, number, type_, state, attempt, epoch, time, None))
    return events


def ended(events: Sequence[Event], **other: Any) -> Ended:
    """Return how a task of this history is stored."""
    last = events[-1]
    stored = Ended(last.state, last.attempt, 3, last.epoch, last.sequence, None)
    return stored._replace(**other)


def test_books_that_balance_have_every_accepted_task_ended_and_announced_once() -> None:
    assert not any(where for _, where in unbalanced({A}, [], {A: 1, B: 1}, {A: 1, B: 1}))


@pytest.mark.parametrize(
    ("accepted", "live", "stored", "announced", "wrong"),
    [
        ({A}, [], {}, {}, {"accepted tasks lost"}),
        ({A}, [A], {}, {}, {"accepted tasks lost", "tasks that have not ended"}),
        (
            {A},
            [A],
            {A},
            {A: 1},
            {"tasks that have not ended", "tasks both ended and not"},
        ),
        ({A}, [], {A}, {}, {"tasks never announced"}),
        ({A}, [], {A}, {A: 2}, {"tasks announced twice"}),
        (set(), [], set(), {A: 1}, {"announced tasks that are not there"}),
    ],
)
def test_books_that_do_not_balance_are_found(
    accepted: set[UUID],
    live: list[UUID],
    stored: set[UUID],
    announced: dict[UUID, int],
    wrong: set[str],
) -> None:
    assert {what for what, where in unbalanced(accepted, live, stored, announced) if where} == wrong


GOOD = history("created", "started", "retrying", "started", "succeeded")


def test_a_history_in_order_is_none_to_complain_of() -> None:
    assert wrong_life(GOOD, ended(GOOD)) == ""
    answered = history("created", "started", "paused", "resumed", "started", "succeeded")
    assert wrong_life(answered, ended(answered)) == ""


@pytest.mark.parametrize(
    ("events", "stored", "wrong"),
    [
        (GOOD[:2] + GOOD[3:], ended(GOOD), "a gap before 4"),
        (GOOD[:4], ended(GOOD), "stored ('succeeded'"),
        (GOOD, None, "its task is not there"),
        (GOOD, ended(GOOD, state="failed"), "stored ('failed'"),
        (GOOD, ended(GOOD, epoch=3), "stored ('succeeded', 2, 3"),
        (GOOD, ended(GOOD, max_attempts=1), "2 attempts, where 1 are allowed"),
        (history("created", "succeeded"), None, "succeeded from queued"),
        (history("created", "started", "started"), None, "started from running"),
        (history("created", "started", "succeeded", "failed"), None, "failed from succeeded"),
        (history("created", "started", "succeeded", "started"), None, "started from succeeded"),
        (
            [GOOD[0], GOOD[1]._replace(epoch=0), *GOOD[2:]],
            ended(GOOD),
            "epoch 0 to 0 by started",
        ),
        (
            [*GOOD[:2], GOOD[2]._replace(epoch=3), *GOOD[3:]],
            ended(GOOD),
            "epoch 1 to 3 by retrying",
        ),
        (
            [*GOOD[:3], GOOD[3]._replace(attempt=1), GOOD[4]._replace(attempt=1)],
            ended(GOOD, attempt=1),
            "started from queued, attempt 1",
        ),
        (
            history("created", "started", "cancel_requested", "retrying"),
            None,
            "retrying after a cancellation",
        ),
        (
            [*GOOD[:2], GOOD[2]._replace(error=FATAL), *GOOD[3:]],
            ended(GOOD),
            f"another attempt after {FATAL}",
        ),
    ],
)
def test_a_history_that_is_wrong_is_told_so(
    events: list[Event], stored: Ended | None, wrong: str
) -> None:
    assert wrong in wrong_life(events, stored)


def test_a_limit_holds_where_one_ends_before_the_next_starts() -> None:
    one, other = history("created", "started", "succeeded"), GOOD
    later = [event._replace(task=B, position=event.position + 10) for event in other]
    assert not list(too_many_at_a_time([*one, *later], {A: {"one": 1}, B: {"one": 1}}))


def test_a_limit_that_is_exceeded_is_found() -> None:
    one, other = history("created", "started"), history("created", "started", task=B, at=2)
    places = {A: {"one": 1}, B: {"one": 1}}
    assert list(too_many_at_a_time([*one, *other], places)) == [
        "2 tasks of one at 4, where 1 are allowed"
    ]
    assert not list(too_many_at_a_time([*one, *other], {A: {"one": 1}, B: {"other": 1}}))


def starts(*seconds: float) -> list[Event]:
    """Return starts of tasks at these times."""
    [started] = history("created", "started")[1:]
    return [
        started._replace(position=number, time=BEGIN + timedelta(seconds=second))
        for number, second in enumerate(seconds)
    ]


def test_a_rate_allows_a_bucket_at_once_and_then_what_refills() -> None:
    rates = {A: {"slow": (2, 1.0, 1)}}
    assert not list(too_many_in_a_time(starts(0, 0, 0.5, 1.0, 5, 5), rates))
    assert len(list(too_many_in_a_time(starts(0, 0, 0.4), rates))) == 1
    assert len(list(too_many_in_a_time(starts(0, 0), {A: {"slow": (2, 1.0, 2)}}))) == 1


def test_a_clock_that_is_set_back_begins_with_a_full_bucket() -> None:
    rates = {A: {"slow": (2, 1.0, 1)}}
    assert not list(too_many_in_a_time(starts(3600, 3600, 0, 0, 0.5), rates))
    assert len(list(too_many_in_a_time(starts(3600, 3600, 0, 0, 0), rates))) == 1


def test_a_dependent_starts_after_what_it_depends_on() -> None:
    before = life_of(history("created", "started", "succeeded"))
    after = life_of(history("created", "started", task=B, at=10))
    early = life_of(history("created", "started", task=B, at=0))
    needs = {B: Needs([(A, "succeeded")])}
    assert not list(started_too_early({A: before, B: after}, needs))
    assert len(list(started_too_early({A: before, B: early}, needs))) == 1
    assert len(list(started_too_early({B: after}, needs))) == 1
    failed = life_of(history("created", "started", "failed"))
    assert len(list(started_too_early({A: failed, B: after}, needs))) == 1
    assert not list(started_too_early({A: failed, B: after}, {B: Needs([(A, "ended")])}))
    both = [(A, "succeeded"), (C, "succeeded")]
    assert not list(started_too_early({A: before, B: after}, {B: Needs(both, any=True)}))
    assert len(list(started_too_early({A: before, B: after}, {B: Needs(both)}))) == 1


def test_a_child_does_not_start_after_its_parent_was_called_off() -> None:
    above = life_of(history("created", "started", "cancelled"))
    before = life_of(history("created", "started", "cancelled", task=B, at=-1))
    after = life_of(history("created", "started", "succeeded", task=B, at=10))
    alive = life_of(history("created", "started", task=B, at=-1))
    assert not list(outlived({A: above, B: before}, {B: A}))
    assert "started after" in next(outlived({A: above, B: after}, {B: A}))
    assert "goes on" in next(outlived({A: above, B: alive}, {B: A}))
    assert above.end is not None
    [start] = after.starts
    at_once = after._replace(starts=(start._replace(time=above.end.time),))
    assert not list(outlived({A: above, B: at_once}, {B: A}))
    well = life_of(history("created", "started", "succeeded"))
    assert not list(outlived({A: well, B: after}, {B: A}))


def test_a_child_that_is_made_twice_is_found() -> None:
    assert not list(too_many_children({B: A}, {A: 1}, {B}))
    assert len(list(too_many_children({B: A, C: A}, {A: 1}, {B, C}))) == 1
    assert not list(too_many_children({B: A, C: A}, {A: 1}, {B}))


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
