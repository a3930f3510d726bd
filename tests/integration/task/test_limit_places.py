"""Places under limits are given back, and the counters stay true, whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1 import task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import (
    HandAgent,
    connected,
    done,
    failed,
    paused,
    released,
)
from tests.integration.task.calls import (
    cancel,
    create,
    create_batch,
    creation,
    seconds,
)
from tests.integration.task.conftest import open_channel
from tests.integration.task.steering import (
    gets_nothing,
    limit,
    limits_are_true,
    rate,
)
from tests.waiting import until_true

REJECT, OLDEST, IN_TURN = (
    policy.ConcurrencyLimit.STRATEGY_REJECT_NEWEST,
    policy.ConcurrencyLimit.STRATEGY_CANCEL_OLDEST,
    policy.ConcurrencyLimit.STRATEGY_ROUND_ROBIN,
)


def ids(assignments: Sequence[dispatch.Assignment]) -> list[str]:
    return [each.task.id for each in assignments]


def given_up(lease: dispatch.Lease) -> dispatch.Report:
    return failed(lease, retryable=False)


def to_be_retried(lease: dispatch.Lease) -> dispatch.Report:
    return failed(lease, retry_after=seconds(600))


@pytest.mark.parametrize("report", [done, given_up, to_be_retried, released, paused, None])
async def test_a_place_is_given_back_however_the_attempt_ends(
    channel: aio.Channel,
    caller: TaskServiceStub,
    stores: Stores,
    report: Callable[[dispatch.Lease], dispatch.Report] | None,
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key")]}
    async with connected(channel, "text.count", slots=9) as agent:
        first, second = [(await create(caller, **rules)).id for _ in range(2)]
        [held] = await agent.take()
        if report is None:
            await cancel(caller, first, grace=0)
        else:
            await agent.report(report(held.lease))
        [again] = await agent.take()
        # One that was given back waits again, behind the other.
        assert again.task.id == second
        taken, members, waiting = (await limits_are_true(stores.task))["key"]
    assert taken == 1
    assert members == (1 if report in (done, given_up, None) else 2)
    assert waiting == (1 if report is released else 0)


async def test_a_place_is_given_back_when_a_lease_lapses(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key")], "max_attempts": 1}
    async with connected(channel, "text.count", slots=9) as agent:
        first, second = [(await create(caller, **rules)).id for _ in range(2)]
        await agent.take()
        lapse = text("UPDATE tasks SET lease_time = now(), due_time = now() WHERE id = :id")
        await stores.task.transaction(lambda tx: tx.execute(lapse, {"id": first}))
        assert ids(await agent.take()) == [second]
        assert await limits_are_true(stores.task) == {"key": (1, 1, 0)}


async def test_who_is_cancelled_while_it_waits_waits_no_more(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key")]}
    async with connected(channel, "text.count", slots=9) as agent:
        made = [(await create(caller, **rules)).id for _ in range(3)]
        [held] = await agent.take()
        await cancel(caller, made[1])
        assert await limits_are_true(stores.task) == {"key": (1, 2, 1)}
        await agent.report(done(held.lease))
        assert ids(await agent.take()) == [made[2]]


async def test_limits_are_the_tenants_own(
    small_mesh: RunningReplica, tokens: TokenFactory, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    rules: dict[str, Any] = {"concurrency_limits": [limit("key")]}
    async with (
        open_channel(small_mesh, tokens, "umbrella") as elsewhere,
        connected(elsewhere, "text.count", name="foreign") as foreign,
        connected(channel, "text.count", name="own") as own,
    ):
        theirs = (await create(TaskServiceStub(elsewhere), **rules)).id
        ours = (await create(caller, **rules)).id
        assert ids(await foreign.take()) == [theirs]
        assert ids(await own.take()) == [ours]


async def test_two_replicas_that_meet_a_key_at_once_count_together(
    stores: Stores, tokens: TokenFactory, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(channel, "text.count", slots=50) as agent,
    ):
        other = TaskServiceStub(elsewhere)
        keys = [f"key-{n}" for n in range(8)]
        await asyncio.gather(
            *(
                create(stub, concurrency_limits=[limit(key, 2)])
                for key in keys
                for stub in (caller, other, caller, other)
            )
        )
        held = await agent.take(16)
        await gets_nothing(agent, 0.1)
        assert await limits_are_true(stores.task) == dict.fromkeys(keys, (2, 4, 2))
        await agent.report(*(done(each.lease) for each in held))
        await agent.take(16)


async def test_counters_are_true_after_whatever_happens(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    made: list[str] = []
    try:
        async with (
            connected(channel, "text.count", name="one", slots=6) as one,
            connected(channel, "text.count", name="two", slots=6) as two,
        ):
            for _ in range(12):
                made += await _create_some(caller, chance)
                for agent in (one, two):
                    await _report_some(agent, chance)
                for task_id in chance.sample(made, min(2, len(made))):
                    await _cancel(caller, task_id, chance.choice([0.0, 5.0]))
                await limits_are_true(stores.task)
            await asyncio.wait_for(_drain(caller, stores, one, two, made), 30)
            assert await limits_are_true(stores.task) == {}
    except BaseException:
        print(f"seed {seed}")  # noqa: T201 - to have it once more
        raise


async def _create_some(caller: TaskServiceStub, chance: random.Random) -> list[str]:
    requests = []
    for _ in range(chance.randint(1, 12)):
        keys = chance.sample(["a", "b", "c", "d"], chance.randint(1, 3))
        limits = [
            limit(key, {"a": 1, "b": 3, "c": 4, "d": 2}[key], _STRATEGIES[key]) for key in keys
        ]
        rates = [rate("r", 20, 0.2, takes=chance.randint(1, 9))] if chance.random() < 0.4 else []
        requests.append(
            creation(
                concurrency_limits=limits,
                rate_limits=rates,
                priority=chance.randint(0, 3),
                max_attempts=2,
                fairness=policy.Fairness(key=chance.choice("xyz")),
            )
        )
    results = await create_batch(caller, *requests)
    return [each.task_id for each in results if each.task_id]


_STRATEGIES = {"a": policy.ConcurrencyLimit.STRATEGY_QUEUE, "b": REJECT, "c": OLDEST, "d": IN_TURN}


async def _report_some(agent: HandAgent, chance: random.Random) -> None:
    await agent.beat()
    await agent.next("pulse")
    kept, reports = [], []
    for each in agent.assigned:
        lease = each.lease
        if chance.random() < 0.3:
            kept.append(each)
        else:
            outcomes = (done(lease), failed(lease), released(lease), failed(lease, retryable=False))
            reports.append(chance.choice(outcomes))
    agent.assigned = kept
    if reports:
        await agent.report(*reports)


async def _cancel(caller: TaskServiceStub, task_id: str, grace: float) -> None:
    # It may have ended.
    with suppress(aio.AioRpcError):
        await cancel(caller, task_id, grace)


async def _drain(
    caller: TaskServiceStub, stores: Stores, one: HandAgent, two: HandAgent, made: list[str]
) -> None:
    async def is_empty() -> bool:
        for agent in (one, two):
            await agent.beat()
            await agent.next("pulse")
            held, agent.assigned = agent.assigned, []
            if held:
                await agent.report(*(done(each.lease) for each in held))
        query = text("SELECT count(*) FROM tasks")
        return not (await stores.task.transaction(lambda tx: tx.execute(query))).scalar_one()

    await until_true(is_empty)
    request = task_service_pb2.GetTaskRequest(task_id=made[0])
    assert (await caller.GetTask(request)).HasField("end_time")
