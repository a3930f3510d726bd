"""Which agents a task may go to, and which it should."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import grpc
import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import RunningReplica, Stores
from tests.integration.task.agents import connected, done, failed, register
from tests.integration.task.calls import between, create, get, seconds
from tests.integration.task.steering import (
    finish,
    gets_nothing,
    make,
    place,
    stands,
    takes,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def waits(assignments: Sequence[dispatch.Assignment]) -> dict[str, float]:
    """Return how many seconds each task waited, by the clock that patience goes by."""
    tasks = [each.task for each in assignments]
    return {task.id: between(task.create_time, task.start_time) for task in tasks}


async def test_a_version_in_the_range_is_wanted(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="old", version="1.9.3", slots=9) as old,
        connected(channel, "text.count", name="new", version="2.1.0rc1", slots=9) as new,
        connected(channel, "text.count", name="odd", version="latest", slots=9) as odd,
    ):
        below = [await place(caller, version="<2") for _ in range(3)]
        above = [await place(caller, version=">=2,!=2.0.5") for _ in range(3)]
        nobody = await place(caller, version=">=3")
        assert await takes(old, 3) == below
        assert await takes(new, 3) == above
        await gets_nothing(odd)
        assert await stands(caller, nobody) == "QUEUED AGENT"
    with refusal(INVALID, "INVALID_ARGUMENT", "task.placement.version"):
        await place(caller, version="the best")


async def test_required_labels_are_required(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with (
        connected(
            channel, "text.count", name="eu", slots=9, labels={"zone": "eu", "gpu": "yes"}
        ) as europe,
        connected(channel, "text.count", name="us", slots=9, labels={"zone": "us"}) as america,
    ):
        both = await place(caller, required_labels={"zone": "eu", "gpu": "yes"})
        nobody = await place(caller, required_labels={"zone": "us", "gpu": "yes"})
        west = await place(caller, required_labels={"zone": "us"})
        assert await takes(europe) == [both]
        assert await takes(america) == [west]
        assert await stands(caller, nobody) == "QUEUED AGENT"


async def test_what_fits_nobody_keeps_nobody_waiting_and_the_writer_at_rest(
    channel: aio.Channel, caller: TaskServiceStub, small_mesh: RunningReplica
) -> None:
    async with connected(channel, "text.count") as agent:
        await place(caller, required_labels={"zone": "mars"})
        ids = await make(caller, 3)
        assert await finish(agent, 3) == ids
        assert not small_mesh.task.seating.has_work()
        async with connected(channel, "text.count", name="mars", labels={"zone": "mars"}) as far:
            assert len(await far.take()) == 1


async def test_a_preferred_agent_that_is_free_gets_the_task(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="plain", slots=9),
        connected(channel, "text.count", name="warm", slots=9, labels={"cache": "warm"}) as warm,
    ):
        ids = [await place(caller, preferred_labels={"cache": "warm"}) for _ in range(5)]
        assert await takes(warm, 5) == ids


async def test_another_agent_gets_it_once_patience_is_over(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", name="plain", slots=9) as plain:
        first = await place(caller, preferred_labels={"cache": "warm"}, patience=seconds(0.6))
        other = (await create(caller)).id
        waited = waits(await plain.take(2))
        assert waited[first] >= 0.6
        assert waited[other] < waited[first]
        at_once = await place(caller, preferred_labels={"cache": "warm"}, patience=seconds(0))
        assert await takes(plain) == [at_once]


@pytest.mark.usefixtures("known")
async def test_each_task_of_a_lane_has_its_own_patience(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    wish = {"preferred_labels": {"cache": "warm"}, "patience": seconds(600)}
    first, second = [await place(caller, **wish) for _ in range(2)]
    await has_waited(stores, first)
    async with connected(channel, "text.count", name="plain", slots=9) as plain:
        assert await takes(plain) == [first]
        await gets_nothing(plain)
        assert await stands(caller, second) == "QUEUED AGENT"


@pytest.mark.usefixtures("known")
async def test_the_next_of_a_lane_goes_once_its_own_patience_is_over(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    wish = {"preferred_labels": {"cache": "warm"}, "patience": seconds(1)}
    first, second = [await place(caller, **wish) for _ in range(2)]
    await has_waited(stores, first)
    async with connected(channel, "text.count", name="plain", slots=9) as plain:
        taken = await plain.take(2)
    assert [each.task.id for each in taken] == [first, second]
    assert waits(taken)[second] >= 1


async def has_waited(stores: Stores, task_id: str) -> None:
    """Have a task be ready for ten minutes."""
    age = text("UPDATE tasks SET ready_time = ready_time - interval '600 s' WHERE id = :id")
    await stores.task.transaction(lambda tx: tx.execute(age, {"id": task_id}))


async def test_a_preferred_agent_gets_it_as_soon_as_it_is_free(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="plain", slots=9),
        connected(channel, "text.count", name="warm", labels={"cache": "warm"}) as warm,
    ):
        wish = {"preferred_labels": {"cache": "warm"}, "patience": seconds(600)}
        first, second = await place(caller, **wish), await place(caller, **wish)
        [held] = await warm.take()
        assert held.task.id == first
        await warm.report(done(held.lease))
        assert await takes(warm) == [second]


async def test_a_task_sticks_to_the_agent_of_an_earlier_one(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="one", slots=5) as one,
        connected(channel, "text.count", name="two", slots=5) as two,
    ):
        earlier = (await create(caller)).id
        agents = {one.id: one, two.id: two}
        agent = agents[(await get(caller, earlier)).agent_id]
        await finish(agent)
        ids = [await place(caller, sticky_task_id=earlier) for _ in range(4)]
        assert await takes(agent, 4) == ids
        kept = await get(caller, ids[0])
        assert kept.placement.sticky_task_id == earlier
    with refusal(INVALID, "RELATED_TASK_NOT_FOUND", "task.placement.sticky_task_id"):
        await place(caller, sticky_task_id=str(uuid.uuid4()))


async def test_who_is_stuck_to_and_gone_is_waited_for_with_patience_only(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", name="gone") as gone:
        earlier = (await create(caller)).id
        await finish(gone)
    async with connected(channel, "text.count", name="there") as there:
        task_id = await place(caller, sticky_task_id=earlier, patience=seconds(0.3))
        assert await stands(caller, task_id) == "QUEUED AGENT"
        assert await takes(there) == [task_id]


async def test_excluded_agents_get_nothing(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with (
        connected(channel, "text.count", name="bad", slots=9) as bad,
        connected(channel, "text.count", name="good", slots=9) as good,
    ):
        ids = [await place(caller, excluded_agent_ids=[bad.id.upper()]) for _ in range(4)]
        assert await takes(good, 4) == ids
        nobody = await place(caller, excluded_agent_ids=[bad.id, good.id])
        assert await stands(caller, nobody) == "QUEUED AGENT"


async def test_a_task_for_one_agent_waits_for_it(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    chosen = await register(channel, "chosen", ["text.count"])
    async with connected(channel, "text.count", name="other", slots=9) as other:
        task_id = await place(caller, agent_id=chosen)
        await gets_nothing(other)
        async with connected(channel, "text.count", name="chosen") as agent:
            assert await takes(agent) == [task_id]


async def test_a_placement_holds_for_every_attempt(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="other", slots=9) as other,
        connected(channel, "text.count", name="chosen", slots=2) as chosen,
    ):
        task_id = await place(caller, agent_id=chosen.id)
        for _ in range(2):
            [held] = await chosen.take()
            assert held.task.id == task_id
            await chosen.report(failed(held.lease))
        await gets_nothing(other, 0.1)
