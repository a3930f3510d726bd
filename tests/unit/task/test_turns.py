"""Whose turn it is: shares by weight, priority first, and nobody forgotten."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.task.dispatch.turns import Turns
from services.task.domain.lanes import UNROUTED, Lane, LaneKey
from services.task.domain.policy import Placement

weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0]), min_size=2, max_size=6)
rounds = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def lane(number: int, *, priority: int = 0, key: str = "", weight: float = 1.0) -> Lane:
    where = LaneKey("acme", "text.count", priority, Placement(), key, UNROUTED)
    return Lane(number, where, weight)


def take(turns: Turns, lanes: list[Lane], count: int) -> list[Lane]:
    """Plan a round of so many turns, all of which are used."""
    round_, taken = turns.round(lanes), list[Lane]()
    for _ in range(count):
        chosen = round_.next()
        assert chosen is not None
        round_.take(chosen)
        taken.append(chosen)
    for chosen in taken:
        turns.count(chosen)
    return taken


@given(weights=weights, rounds=rounds)
def test_keys_share_by_their_weights_whatever_the_rounds(
    weights: list[float], rounds: list[int]
) -> None:
    lanes = [lane(n, key=f"{n}", weight=weight) for n, weight in enumerate(weights)]
    turns, used = Turns(), Counter[int]()
    for count in rounds:
        used.update(each.id for each in take(turns, lanes, count))
    # No key is ahead of another by more than the turn that it has just had.
    for one in lanes:
        for other in lanes:
            ahead = used[one.id] / one.weight - used[other.id] / other.weight
            assert ahead <= 1 / one.weight + 1e-6


@given(many=st.integers(2, 10), count=st.integers(1, 100))
def test_a_key_gets_no_larger_share_by_more_lanes(many: int, count: int) -> None:
    busy = [lane(n, key="busy") for n in range(many)]
    calm = lane(99, key="calm")
    used = Counter(each.key.fairness_key for each in take(Turns(), [*busy, calm], count))
    assert abs(used["busy"] - used["calm"]) <= 1


@given(many=st.integers(2, 10))
def test_the_lanes_of_a_key_take_turns(many: int) -> None:
    lanes = [lane(n, key="red") for n in range(many)]
    assert {each.id for each in take(Turns(), lanes, many)} == set(range(many))


@given(alone=st.integers(0, 200), count=st.integers(1, 100))
def test_a_key_that_was_away_has_saved_nothing_up(alone: int, count: int) -> None:
    first, second = lane(1, key="first"), lane(2, key="second")
    turns = Turns()
    take(turns, [first], alone)
    used = Counter(each.id for each in take(turns, [first, second], count))
    assert abs(used[1] - used[2]) <= 2


@given(
    priorities=st.sets(st.integers(0, 9), min_size=2),
    rounds=st.lists(st.integers(1, 50), min_size=1),
)
def test_the_urgent_go_first_and_nobody_starves(priorities: set[int], rounds: list[int]) -> None:
    lanes = [lane(priority, priority=priority) for priority in priorities]
    turns, order = Turns(), list[int]()
    for count in rounds:
        order += [each.id for each in take(turns, lanes, count)]
    highest, lower = max(priorities), priorities - {max(priorities)}
    # Nine of any ten turns go to the most urgent.
    for start in range(len(order) - 9):
        assert order[start : start + 10].count(highest) == 9
    for priority in lower:
        turns_of = [-1, *[n for n, each in enumerate(order) if each == priority], len(order)]
        assert all(after - before <= 10 * len(lower) for before, after in pairwise(turns_of))


@given(drops=st.lists(st.booleans(), min_size=20, max_size=60))
def test_who_drops_out_is_not_asked_again(drops: list[bool]) -> None:
    lanes = [lane(n, priority=n % 3, key=f"{n % 5}") for n in range(10)]
    round_, gone = Turns().round(lanes), set[int]()
    for drop in drops:
        chosen = round_.next()
        if chosen is None:
            break
        assert chosen.id not in gone
        if drop:
            round_.drop(chosen)
            gone.add(chosen.id)
        else:
            round_.take(chosen)
    assert (round_.next() is None) == (len(gone) == len(lanes))
