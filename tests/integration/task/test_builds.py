"""Tasks go to the builds that they are pinned or routed to."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import queue_service_pb2 as queue
from mesh.task.v1.queue_service_pb2_grpc import QueueServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import HandAgent, connected, done, released
from tests.integration.task.calls import create
from tests.integration.task.conftest import open_channel
from tests.integration.task.steering import (
    gathered,
    gets_nothing,
    make,
    place,
    queues,
    route,
    stands,
    takes,
)
from tests.waiting import until

INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def test_a_task_is_pinned_to_a_build(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with (
        connected(channel, "text.count", name="v1", build_id="v1", slots=9) as first,
        connected(channel, "text.count", name="v2", build_id="v2", slots=9) as second,
    ):
        await route(channel, "v1")
        pinned = [await place(caller, build_id="v2") for _ in range(3)]
        free = await make(caller, 3)
        assert set(await takes(second, 3)) == set(pinned)
        assert set(await takes(first, 3)) == set(free)


async def drained(first: HandAgent, second: HandAgent, ids: list[str]) -> tuple[set[str], set[str]]:
    """Take all of these tasks on two agents; return what each was given."""
    given: tuple[set[str], set[str]] = (set(), set())

    async def drain(agent: HandAgent, mine: set[str]) -> None:
        while len(given[0]) + len(given[1]) < len(ids):
            await agent.beat()
            await agent.next("pulse")
            taken, agent.assigned = agent.assigned, []
            mine.update(each.task.id for each in taken)
            if taken:
                await agent.report(*(done(each.lease) for each in taken))

    async with asyncio.timeout(60):
        await asyncio.gather(drain(first, given[0]), drain(second, given[1]))
    return given


@pytest.mark.parametrize(("percent", "expected"), [(0, range(1)), (30, range(8, 28)), (100, [60])])
async def test_a_ramping_build_gets_its_share(
    channel: aio.Channel, caller: TaskServiceStub, percent: int, expected: range
) -> None:
    await route(channel, "v1", "v2", percent)
    async with (
        connected(channel, "text.count", name="v1", build_id="v1", slots=100) as current,
        connected(channel, "text.count", name="v2", build_id="v2", slots=100) as ramping,
        connected(channel, "text.count", name="v3", build_id="v3", slots=100) as foreign,
    ):
        ids = await make(caller, 60)
        _, share = await drained(current, ramping, ids)
        await gets_nothing(foreign, 0.1)
    assert len(share) in expected


@pytest.mark.usefixtures("known")
async def test_a_task_keeps_its_side_as_the_share_grows(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await route(channel, "v1", "v2", 0)
    ids = await make(caller, 60)
    sides: list[set[str]] = []
    for percent in (20, 60, 100):
        await route(channel, "v1", "v2", percent)
        async with connected(channel, "text.count", name="v2", build_id="v2", slots=100) as ramping:
            given = await gathered(ramping)
            sides.append({each.task.id for each in given})
            await ramping.leave()
            await ramping.report(*(released(each.lease) for each in given))
    small, middle, whole = sides
    assert small < middle < whole == set(ids)


async def test_routings_are_listed_replaced_and_ended(
    channel: aio.Channel, caller: TaskServiceStub, small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    stub = QueueServiceStub(channel)
    await route(channel, "v0")
    put = await route(channel, "v1", "v2", 5)
    listed = await stub.ListBuildRoutings(queue.ListBuildRoutingsRequest())
    assert list(listed.routings) == [put]
    with refusal(INVALID, "INVALID_ARGUMENT", "routing.ramping_build_id"):
        await route(channel, "v1", "", 5)
    async with open_channel(small_mesh, tokens, "umbrella") as elsewhere:
        other = QueueServiceStub(elsewhere)
        assert not (await other.ListBuildRoutings(queue.ListBuildRoutingsRequest())).routings
        await other.DeleteBuildRouting(queue.DeleteBuildRoutingRequest(capability="text.count"))
    async with connected(channel, "text.count", build_id="v7") as agent:
        waiting = (await create(caller)).id
        assert await stands(caller, waiting) == "QUEUED AGENT"
        for _ in range(2):
            gone = queue.DeleteBuildRoutingRequest(capability="text.count")
            await stub.DeleteBuildRouting(gone)
        assert await takes(agent) == [waiting]
    assert not (await stub.ListBuildRoutings(queue.ListBuildRoutingsRequest())).routings
    assert "text.count" in await queues(channel)


@pytest.mark.usefixtures("known")
async def test_a_routing_holds_on_every_replica(
    stores: Stores, tokens: TokenFactory, channel: aio.Channel
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(elsewhere, "text.count", build_id="v2") as agent,
    ):
        await route(channel, "v1")
        await until_routed(second)
        waiting = (await create(TaskServiceStub(elsewhere))).id
        await gets_nothing(agent)
        await route(channel, "v2")
        assert await takes(agent) == [waiting]


async def until_routed(running: RunningReplica) -> None:
    await until(lambda: bool(running.task.steering.routings))
