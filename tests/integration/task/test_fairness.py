"""Whose turn it is: priority first, shares within a priority, and nobody forgotten."""

from __future__ import annotations

from collections import Counter

import pytest
from grpc import aio

from mesh.task.v1.task_policy_pb2 import Placement
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.integration.task.agents import HandAgent, connected, done
from tests.integration.task.steering import fair, make

pytestmark = pytest.mark.usefixtures("known")


async def served(agent: HandAgent, count: int, at_once: int = 1) -> list[str]:
    """Finish so many tasks, some at a time; return the value of each one's label `of`."""
    order: list[str] = []
    while len(order) < count:
        taken = await agent.take(at_once)
        order += [each.task.labels["of"] for each in taken]
        await agent.report(*(done(each.lease) for each in taken))
    return order


async def crowd(caller: TaskServiceStub, of: str, count: int, **fields: object) -> None:
    """Queue so many tasks, labelled so."""
    await make(caller, count, labels={"of": of}, **fields)


async def test_urgent_work_goes_first_and_one_turn_of_ten_to_the_rest(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    for of, priority, count in (("low", 0, 20), ("middle", 5, 60), ("high", 9, 90)):
        await crowd(caller, of, count, priority=priority)
    async with connected(channel, "text.count") as agent:
        order = await served(agent, 100)
        rest = await served(agent, 50)
    assert Counter(order) == {"high": 90, "middle": 5, "low": 5}
    places = [place for place, of in enumerate(order, start=1) if of != "high"]
    assert places == list(range(10, 101, 10))
    assert [order[place - 1] for place in places] == ["middle", "low"] * 5
    # Then the middle ones are the urgent ones, and the low ones the rest. Once, and for a moment,
    # the high ones are still believed to wait: a turn that falls there may be a middle one's.
    turns = [place for place, of in enumerate(rest, start=1) if of == "low"]
    assert set(turns) <= {10, 20, 30, 40, 50}
    assert len(turns) >= 4


async def test_without_others_a_low_priority_has_every_turn(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await crowd(caller, "low", 25, priority=0)
    async with connected(channel, "text.count", slots=5) as agent:
        assert await served(agent, 25, at_once=5) == ["low"] * 25


@pytest.mark.parametrize("slots", [1, 20])
async def test_keys_share_by_weight(
    channel: aio.Channel, caller: TaskServiceStub, slots: int
) -> None:
    for of, weight in (("one", 1.0), ("three", 3.0), ("half", 0.5)):
        await crowd(caller, of, 300, fairness=fair(of, weight))
    async with connected(channel, "text.count", slots=slots) as agent:
        shares = Counter(await served(agent, 180, at_once=slots))
    assert shares["one"] == pytest.approx(40, abs=3)
    assert shares["three"] == pytest.approx(120, abs=5)
    assert shares["half"] == pytest.approx(20, abs=3)


async def test_a_flood_of_one_key_does_not_hold_up_another(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await crowd(caller, "flood", 900, fairness=fair("flood"))
    async with connected(channel, "text.count", slots=10) as agent:
        await served(agent, 100, at_once=10)
        await crowd(caller, "late", 20, fairness=fair("late"))
        order = await served(agent, 60, at_once=10)
    # The late one starts where the other is: half of the turns, neither all nor none.
    assert Counter(order[:20])["late"] in range(4, 15)
    assert Counter(order)["late"] == 20


async def test_who_was_away_has_saved_no_turns(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        await crowd(caller, "away", 2, fairness=fair("away"))
        await served(agent, 2)
        await crowd(caller, "busy", 200, fairness=fair("busy"))
        await served(agent, 100)
        await crowd(caller, "away", 60, fairness=fair("away"))
        order = await served(agent, 40)
    assert Counter(order)["away"] in range(18, 23)


async def test_a_key_has_one_share_however_many_lanes_its_tasks_wait_in(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    for zone in range(6):
        label = {f"zone-{zone}": "yes"}
        await crowd(
            caller,
            "spread",
            50,
            fairness=fair("spread"),
            placement=Placement(required_labels=label),
        )
    await crowd(caller, "plain", 200, fairness=fair("plain"))
    labels = {f"zone-{zone}": "yes" for zone in range(6)}
    async with connected(channel, "text.count", name="all", slots=20, labels=labels) as agent:
        shares = Counter(await served(agent, 200, at_once=20))
    assert shares["plain"] == pytest.approx(100, abs=8)


async def test_work_that_nobody_can_do_costs_the_others_no_turn(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    nowhere = Placement(required_labels={"zone": "mars"})
    await crowd(caller, "stuck", 50, priority=9, fairness=fair("stuck"), placement=nowhere)
    await crowd(caller, "a", 100, priority=9, fairness=fair("a"))
    await crowd(caller, "b", 100, priority=9, fairness=fair("b"))
    async with connected(channel, "text.count", slots=5) as agent:
        shares = Counter(await served(agent, 100, at_once=5))
    assert shares["a"] == pytest.approx(50, abs=5)
    assert "stuck" not in shares


async def test_each_capability_shares_for_itself(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await crowd(caller, "count", 60, fairness=fair("key"))
    await crowd(caller, "other", 60, fairness=fair("key"), capability="text.other")
    async with connected(channel, "text.count", "text.other", slots=4) as agent:
        shares = Counter(await served(agent, 60, at_once=4))
    assert shares["count"] == pytest.approx(30, abs=5)
