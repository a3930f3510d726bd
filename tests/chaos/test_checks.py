"""The checker finds what is wrong with what is stored: each check is fed with good and bad."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from tests.chaos.checks.books import unbalanced
from tests.chaos.checks.events import Ended, Event, life_of
from tests.chaos.checks.families import Needs, outlived, started_too_early, too_many_children
from tests.chaos.checks.limits import too_many_at_a_time, too_many_in_a_time
from tests.chaos.checks.lives import wrong_life
from tests.chaos.checks.made import BEGIN, A, B, C, ended, history
from tests.chaos.work import FATAL


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
