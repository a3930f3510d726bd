"""Limits by key: how many at a time, how many in a time, and what happens beyond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import Stores
from tests.integration.task.agents import (
    connected,
    done,
)
from tests.integration.task.calls import (
    between,
    create,
    create_batch,
    creation,
)
from tests.integration.task.steering import (
    fair,
    finish,
    gathered,
    gets_nothing,
    limit,
    limits_are_true,
    make,
    rate,
    stands,
)

REJECT, OLDEST, IN_TURN = (
    policy.ConcurrencyLimit.STRATEGY_REJECT_NEWEST,
    policy.ConcurrencyLimit.STRATEGY_CANCEL_OLDEST,
    policy.ConcurrencyLimit.STRATEGY_ROUND_ROBIN,
)


def ids(assignments: Sequence[dispatch.Assignment]) -> list[str]:
    return [each.task.id for each in assignments]


def starts(assignments: Sequence[dispatch.Assignment]) -> list[float]:
    """Return when each started, in seconds after the first, by the clock that limits go by."""
    times = [each.task.start_time for each in assignments]
    return [between(times[0], each) for each in times]


async def test_no_more_run_at_a_time_than_the_limit(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key", 2)]}
    async with connected(channel, "text.count", slots=9) as agent:
        made = [(await create(caller, **rules)).id for _ in range(4)]
        urgent = (await create(caller, priority=9, **rules)).id
        held = await agent.take(2)
        assert ids(held) == made[:2]
        await gets_nothing(agent, 0.1)
        assert await limits_are_true(stores.task) == {"key": (2, 5, 3)}
        await agent.report(done(held[0].lease))
        assert ids(await agent.take()) == [urgent]
        await agent.report(done(held[1].lease))
        assert ids(await agent.take()) == [made[2]]
        assert await limits_are_true(stores.task) == {"key": (2, 3, 1)}


@pytest.mark.usefixtures("known")
async def test_who_waits_behind_a_limit_keeps_nobody_else_waiting(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    blocked = await make(caller, 40, concurrency_limits=[limit("key")])
    free = await make(caller, 10)
    async with connected(channel, "text.count", slots=5) as agent:
        [first, *_] = await agent.take()
        assert first.task.id == blocked[0]
        assert set(await finish(agent, 10)) == set(free)
        await agent.report(done(first.lease))
        assert await finish(agent, 39) == blocked[1:]


async def test_the_latest_task_says_how_many(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with connected(channel, "text.count", slots=9) as agent:
        made = [
            (await create(caller, concurrency_limits=[limit("key", places)])).id
            for places in (1, 1, 1, 3)
        ]
        [first] = await agent.take()
        await agent.report(done(first.lease))
        assert ids(await agent.take(3)) == made[1:]


async def test_beyond_the_limit_the_newest_is_refused(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key", 2, REJECT)]}
    async with connected(channel, "text.count") as agent:
        results = await create_batch(caller, *(creation(**rules) for _ in range(3)))
        assert [each.error.code for each in results] == [0, 0, 8]
        with refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "CONCURRENCY_LIMIT", "task.concurrency_limits"
        ):
            await create(caller, request_id="again", **rules)
        await finish(agent)
        assert (await create(caller, request_id="again", **rules)).id
        assert (await limits_are_true(stores.task))["key"][1] == 2


async def test_beyond_the_limit_the_oldest_is_cancelled(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key", 2, OLDEST)]}
    async with connected(channel, "text.count", slots=9) as agent:
        first, second, third = [(await create(caller, **rules)).id for _ in range(3)]
        held = await agent.take(3)
        assert ids(held) == [first, second, third]
        [lost] = (await agent.next("cancellations")).leases
        assert lost == held[0].lease
        assert await stands(caller, first) == "CANCELLED"
        results = await create_batch(caller, *(creation(**rules) for _ in range(5)))
        made = [each.task_id for each in results]
        states = [await stands(caller, each) for each in (second, third, *made)]
        assert states == ["CANCELLED"] * 5 + ["RUNNING"] * 2
        assert await limits_are_true(stores.task) == {"key": (2, 2, 0)}


async def test_those_that_wait_behind_a_limit_take_turns_by_fairness_key(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key", 1, IN_TURN)]}
    async with connected(channel, "text.count", slots=9) as agent:
        order = {}
        for name, count in (("a", 5), ("b", 2), ("c", 3)):
            for task_id in await make(caller, count, fairness=fair(name), **rules):
                order[task_id] = name
        served = "".join(order[each] for each in await finish(agent, 10))
        assert await limits_are_true(stores.task) == {}
    assert served == "abcabcacaa"


async def test_turns_reach_who_came_behind_a_thousand_others(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key", 1, IN_TURN)]}
    async with connected(channel, "text.count", slots=3) as agent:
        for _ in range(2):
            await make(caller, 600, fairness=fair("crowd"), **rules)
        lone = (await create(caller, fairness=fair("lone"), **rules)).id
        assert lone in await finish(agent, 3)


async def test_starts_are_spread_as_the_rate_allows(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", slots=50) as agent:
        made = await make(caller, 12, rate_limits=[rate("api", 4, 0.8)])
        taken = await agent.take(12)
        assert ids(taken) == made
        assert await limits_are_true(stores.task) == {"api": (12, 12, 0)}
    # No sooner than the rate allows; how much later is the machine's business.
    for place, start in enumerate(starts(taken), start=1):
        assert start > 0.2 * (place - 4) - 0.001


async def test_tasks_take_as_many_units_as_they_say(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=50) as agent:
        for takes in (6, 8, 1):
            await create(caller, rate_limits=[rate("api", 10, 1.0, takes=takes)])
        taken = await agent.take(3)
    assert [each.task.rate_limits[0].units for each in taken] == [6, 8, 1]
    # 4 of 10 units are left; 8 are there after 0.4 s, and one more 0.1 s later.
    _, second, third = starts(taken)
    assert second > 0.4 - 0.001
    assert third > 0.5 - 0.001


async def test_a_wait_for_units_leaves_the_database_in_peace(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", slots=5) as agent:
        rules: dict[str, Any] = {"rate_limits": [rate("api", 10, 100.0, takes=10)]}
        first, second = [(await create(caller, **rules)).id for _ in range(2)]
        assert ids(await agent.take()) == [first]
        assert await stands(caller, second) == "QUEUED LIMIT"
        before = await updates(stores)
        await gets_nothing(agent, 0.6)
        assert await updates(stores) - before <= 2


async def test_a_limit_with_room_that_nobody_takes_leaves_the_database_in_peace(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", slots=5) as agent:
        made = await make(caller, 300, concurrency_limits=[limit("key", 5)])
        held = await agent.take(5)
        await agent.leave()
        await agent.report(*(done(each.lease) for each in held))
        before = await updates(stores)
        await gathered(agent, 0.6)
        assert await updates(stores) - before < 30
    async with connected(channel, "text.count", slots=5) as agent:
        assert set(await finish(agent, 295)) == set(made) - set(ids(held))


async def updates(stores: Stores) -> int:
    """Return how often rows of limits were changed, as the database counts it."""
    query = text("SELECT coalesce(max(xmin::text::bigint), 0) FROM limits")
    return int((await stores.task.transaction(lambda tx: tx.execute(query))).scalar_one())


async def test_a_task_under_several_limits_waits_for_all(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    a, b = limit("a"), limit("b")
    async with connected(channel, "text.count", slots=9) as agent:
        only_a = (await create(caller, concurrency_limits=[a])).id
        only_b = (await create(caller, concurrency_limits=[b])).id
        both = (await create(caller, concurrency_limits=[a, b], rate_limits=[rate("c", 9)])).id
        held = {each.task.id: each.lease for each in await agent.take(2)}
        assert set(held) == {only_a, only_b}
        assert await limits_are_true(stores.task) == {
            "a": (1, 2, 1), "b": (1, 2, 0), "c": (0, 1, 0)
        }  # fmt: skip
        await agent.report(done(held[only_a]))
        await gets_nothing(agent, 0.1)
        assert await limits_are_true(stores.task) == {
            "a": (0, 1, 0), "b": (1, 2, 1), "c": (0, 1, 0)
        }  # fmt: skip
        # It waits for b, so others may have its place under a.
        other = (await create(caller, concurrency_limits=[a])).id
        [third] = await agent.take()
        assert third.task.id == other
        await agent.report(done(held[only_b]))
        await gets_nothing(agent, 0.1)
        await agent.report(done(third.lease))
        assert ids(await agent.take()) == [both]
        assert await limits_are_true(stores.task) == {
            "a": (1, 1, 0), "b": (1, 1, 0), "c": (1, 1, 0)
        }  # fmt: skip
