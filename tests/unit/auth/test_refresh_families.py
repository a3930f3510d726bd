"""Families of refresh tokens: who of them works when, whatever is presented in what order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.sessions import Family, SessionLimits

GRACE = timedelta(seconds=10)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)

STEPS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=4),
        st.sampled_from([0.0, 1.0, 9.999, 10.0, 10.001, 60.0]),
    ),
    max_size=30,
)


def token(number: int) -> bytes:
    return f"token {number}".encode()


@given(STEPS)
def test_at_most_two_tokens_work_and_each_is_exchanged_twice_at_most(
    steps: list[tuple[int, float]],
) -> None:
    family, now, issued = Family(token(0)), BEGIN, 1
    exchanged: dict[int, list[datetime]] = {}
    for back, seconds in steps:
        now += timedelta(seconds=seconds)
        working = [n for n in range(issued) if family.accepts(token(n), now, GRACE)]
        assert len(working) <= 2
        assert issued - 1 in working
        for number in working:
            times = exchanged.get(number, [])
            assert len(times) <= 1
            assert all(now < each + GRACE for each in times)

        presented = max(issued - 1 - back, 0)
        if presented not in working:
            # The family ends, and none of it counts any more.
            return
        exchanged.setdefault(presented, []).append(now)
        family = family.exchanged(token(presented), token(issued), now)
        issued += 1


def test_whichever_of_two_answers_has_arrived_works_however_late() -> None:
    later = BEGIN + timedelta(seconds=5)
    family = Family(token(0)).exchanged(token(0), token(1), BEGIN)
    assert family.accepts(token(0), later, GRACE)
    twins = family.exchanged(token(0), token(2), later)
    much_later = later + timedelta(days=6)
    works = {n: twins.accepts(token(n), much_later, GRACE) for n in range(3)}
    assert works == {0: False, 1: True, 2: True}

    for arrived, other in ((1, 2), (2, 1)):
        family = twins.exchanged(token(arrived), token(3), much_later)
        works = {n: family.accepts(token(n), much_later, GRACE) for n in range(4)}
        assert works == {0: False, arrived: True, other: False, 3: True}
        assert not family.accepts(token(arrived), much_later + GRACE, GRACE)


def test_an_exchanged_token_works_for_the_grace_alone() -> None:
    family = Family(token(0)).exchanged(token(0), token(1), BEGIN)
    assert family.accepts(token(0), BEGIN + timedelta(seconds=9.999), GRACE)
    assert not family.accepts(token(0), BEGIN + GRACE, GRACE)
    assert family.accepts(token(1), BEGIN + timedelta(days=6), GRACE)


def test_a_session_goes_on_while_it_is_refreshed_but_not_for_ever() -> None:
    limits = SessionLimits(idle=timedelta(days=7), longest=timedelta(days=30))
    assert limits.expiry(BEGIN, BEGIN) == BEGIN + timedelta(days=7)
    assert limits.expiry(BEGIN, BEGIN + timedelta(days=5)) == BEGIN + timedelta(days=12)
    assert limits.expiry(BEGIN, BEGIN + timedelta(days=29)) == BEGIN + timedelta(days=30)
