"""Pauses: tasks are accepted, and go out once the pause is over."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import queue_service_pb2 as queue
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import connected, done, failed
from tests.integration.task.calls import create, later, seconds
from tests.integration.task.conftest import open_channel
from tests.integration.task.steering import (
    finish,
    gets_nothing,
    limit,
    limits_are_true,
    make,
    pause,
    pauses,
    rate,
    resume,
    stands,
)
from tests.waiting import until, until_true


async def test_a_paused_capability_gives_out_nothing_until_it_is_resumed(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", "text.other", slots=3) as agent:
        running = (await create(caller)).id
        [held] = await agent.take()
        made = await pause(channel, capability="text.count", reason="maintenance")
        waiting = (await create(caller)).id
        other = (await create(caller, capability="text.other")).id
        assert [each.task.id for each in await agent.take()] == [other]
        [receipt] = await agent.report(done(held.lease))
        assert receipt.accepted
        assert await stands(caller, running) == "SUCCEEDED"
        assert await stands(caller, waiting) == "QUEUED AGENT"
        await resume(channel, made.id)
        assert [each.task.id for each in await agent.take()] == [waiting]


async def test_a_paused_agent_is_passed_over(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with (
        connected(channel, "text.count", name="calm") as calm,
        connected(channel, "text.count", name="busy") as busy,
    ):
        made = await pause(channel, agent_id=calm.id)
        ids = await make(caller, 3)
        assert await finish(busy, 2) == ids[:2]
        await busy.take()
        late = (await create(caller)).id
        assert await stands(caller, late) == "QUEUED AGENT"
        await resume(channel, made.id)
        assert [each.task.id for each in await calm.take()] == [late]


@pytest.mark.parametrize("ruled", ["concurrency_limits", "rate_limits"])
async def test_a_paused_key_holds_all_tasks_under_it(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, ruled: str
) -> None:
    rules: dict[str, Any] = {
        ruled: [limit("key", 9) if ruled == "concurrency_limits" else rate("key", 9)]
    }
    async with connected(channel, "text.count", slots=9) as agent:
        await create(caller, **rules)
        await agent.take()
        made = await pause(channel, key="key")
        held = await make(caller, 3, **rules)
        free = (await create(caller)).id
        assert [each.task.id for each in await agent.take()] == [free]
        assert {await stands(caller, each) for each in held} == {"QUEUED LIMIT"}
        assert await limits_are_true(stores.task) == {"key": (1, 4, 3)}
        await resume(channel, made.id)
        assert [each.task.id for each in await agent.take(3)] == held


async def test_a_key_may_be_paused_before_anybody_has_named_it(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    made = await pause(channel, key="new")
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller, concurrency_limits=[limit("new")])).id
        assert await stands(caller, task_id) == "QUEUED LIMIT"
        await resume(channel, made.id)
        assert await finish(agent) == [task_id]
    rows = await stores.task.transaction(lambda tx: tx.execute(text("SELECT key FROM limits")))
    assert rows.all() == []


@pytest.mark.usefixtures("known")
async def test_a_pause_of_a_queued_task_in_its_lane_holds_it_too(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    task_id = (await create(caller, concurrency_limits=[limit("key")])).id
    made = await pause(channel, key="key")
    async with connected(channel, "text.count") as agent:
        free = (await create(caller)).id
        assert await finish(agent) == [free]
        assert await stands(caller, task_id) == "QUEUED LIMIT"
        await resume(channel, made.id)
        assert await finish(agent) == [task_id]


@pytest.mark.parametrize("target", ["capability", "key", "agent_id"])
async def test_a_pause_ends_by_itself(
    channel: aio.Channel, caller: TaskServiceStub, target: str
) -> None:
    async with connected(channel, "text.count") as agent:
        named = {"capability": "text.count", "key": "key", "agent_id": agent.id}[target]
        await pause(channel, **{target: named}, until=later(1.2))
        task_id = (await create(caller, concurrency_limits=[limit("key")])).id
        await gets_nothing(agent)
        assert len(await pauses(channel)) == 1
        assert await finish(agent) == [task_id]
    assert await pauses(channel) == []


async def test_a_second_pause_of_the_same_replaces_the_first(channel: aio.Channel) -> None:
    first = await pause(channel, capability="text.count", reason="one")
    await pause(channel, key="text.count")
    second = await pause(channel, capability="text.count", reason="two", until=later(3600))
    listed = await pauses(channel)
    assert [(each.WhichOneof("target"), each.reason) for each in listed] == [
        ("capability", "two"),
        ("key", ""),
    ]
    assert listed[0] == second
    assert second.creator == "key:tester"
    with refusal(grpc.StatusCode.NOT_FOUND, "PAUSE_NOT_FOUND", "pause_id"):
        await resume(channel, first.id)


async def test_a_shorter_pause_of_a_key_in_place_of_a_longer_one_ends_sooner(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        await pause(channel, key="key")
        task_id = (await create(caller, rate_limits=[rate("key", 5)])).id
        await pause(channel, key="key", until=later(1))
        assert await finish(agent) == [task_id]


async def test_pauses_that_make_no_sense_are_refused(channel: aio.Channel) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with refusal(invalid, "INVALID_ARGUMENT", "pause.until"):
        await pause(channel, capability="text.count", until=later(-1))
    with refusal(invalid, "INVALID_ARGUMENT", "pause.target"):
        await pause(channel)
    with refusal(grpc.StatusCode.NOT_FOUND, "PAUSE_NOT_FOUND", "pause_id"):
        await resume(channel, str(uuid.uuid4()))
    assert await pauses(channel) == []


async def test_pauses_are_the_tenants_own(
    small_mesh: RunningReplica, tokens: TokenFactory, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with open_channel(small_mesh, tokens, "umbrella") as elsewhere:
        for target in ("capability", "key"):
            await pause(elsewhere, **{target: "text.count"})
        own = await pause(channel, key="other")
        with refusal(grpc.StatusCode.NOT_FOUND, "PAUSE_NOT_FOUND", "pause_id"):
            await resume(elsewhere, own.id)
        assert [each.id for each in await pauses(channel)] == [own.id]
        async with connected(channel, "text.count") as agent:
            task_id = (await create(caller, concurrency_limits=[limit("text.count")])).id
            assert await finish(agent) == [task_id]


async def test_a_pause_holds_on_every_replica_and_after_a_restart(
    stores: Stores, tokens: TokenFactory, channel: aio.Channel, small_mesh: RunningReplica
) -> None:
    made = await pause(channel, capability="text.count")
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(elsewhere, "text.count") as agent,
    ):
        task_id = (await create(TaskServiceStub(elsewhere))).id
        await gets_nothing(agent)
        await resume(channel, made.id)
        assert await finish(agent) == [task_id]
        again = await pause(elsewhere, agent_id=agent.id)
        steering = small_mesh.task.steering
        await until(lambda: steering.is_agent_paused("acme", agent.id))
        await resume(elsewhere, again.id)
        await until(lambda: not steering.is_agent_paused("acme", agent.id))


async def test_an_agent_that_is_told_to_retry_later_pauses_the_key(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", slots=4) as agent:
        first, second = await make(caller, 2, rate_limits=[rate("openai", 100)])
        held = {each.task.id: each.lease for each in await agent.take(2)}
        told = failed(held[first], retry_after=seconds(0.6), pause_key="openai")
        await agent.report(told)
        await agent.report(done(held[second]))
        third = (await create(caller, rate_limits=[rate("openai", 100)])).id
        assert await stands(caller, third) == "QUEUED LIMIT"
        await gets_nothing(agent)
        again = [each.task.id for each in await agent.take(2)]
        assert sorted(again) == sorted([first, third])
        assert (await limits_are_true(stores.task))["openai"] == (2, 2, 0)


async def test_a_retry_later_of_a_key_that_the_task_does_not_name_pauses_nothing(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        await create(caller, rate_limits=[rate("own", 100)])
        [held] = await agent.take()
        await agent.report(failed(held.lease, retry_after=seconds(60), pause_key="foreign"))
        task_id = (await create(caller, rate_limits=[rate("foreign", 100)])).id
        assert [each.task.id for each in await agent.take()] == [task_id]


async def test_a_lapsed_pause_leaves_no_row(channel: aio.Channel, stores: Stores) -> None:
    await pause(channel, capability="text.count", until=later(1))

    async def gone() -> bool:
        rows = await stores.task.transaction(lambda tx: tx.execute(text("SELECT id FROM pauses")))
        return not rows.all()

    await until_true(gone)


async def test_what_a_pause_is_of_reads_as_it_was_written(channel: aio.Channel) -> None:
    agent_id = str(uuid.uuid4())
    made = await pause(channel, agent_id=agent_id.upper(), reason="broken")
    assert isinstance(made, queue.Pause)
    assert (made.agent_id, made.reason) == (agent_id, "broken")
    assert not made.HasField("until")
