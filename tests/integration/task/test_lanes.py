"""Lanes that nobody uses are removed, and no task gets lost with one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1 import task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from meshkit.testing.tokens import TokenFactory
from services.task.dispatch.steering import Steering
from services.task.domain.lanes import plain_key
from services.task.engine.seating import Seating
from services.task.lane_book import LaneBook
from services.task.store import lanes as store
from tests.integration.replicas import Stores
from tests.integration.task.agents import connected, done, paused
from tests.integration.task.calls import cancel, create, seconds
from tests.integration.task.conftest import open_channel
from tests.integration.task.test_retention import keeping
from tests.waiting import until, until_true

KEY = plain_key("acme", "text.count", 3)


def of(key: str) -> policy.Fairness:
    """A fairness key, so that tasks get a lane of their own."""
    return policy.Fairness(key=key)


async def lanes_of(database: Database) -> Mapping[str, int]:
    """The lanes there are, by their fairness keys."""

    async def read(connection: Any) -> dict[str, int]:
        rows = await connection.execute(text("SELECT fairness_key, id FROM lanes"))
        return {row.fairness_key: row.id for row in rows}

    return await database.transaction(read)


async def remove_idle(database: Database, keep: float = 0.0) -> None:
    """Remove the lanes without tasks."""
    await database.transaction(lambda connection: store.remove_idle(connection, keep, 1000))


async def test_lanes_with_tasks_stay_in_whatever_state_these_are(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    limit = [policy.ConcurrencyLimit(key="one", limit=1)]
    async with connected(channel, "text.count", slots=2) as agent:
        await create(caller, fairness=of("running"), concurrency_limits=limit)
        asking = await create(caller, fairness=of("paused"))
        leases = {each.task.fairness.key: each.lease for each in await agent.take(2)}
        await agent.resize(1)
        await agent.report(paused(leases["paused"]))
        await create(caller, fairness=of("blocked"), concurrency_limits=limit)
        await create(caller, fairness=of("scheduled"), delay=seconds(3600))
        await create(caller, capability="text.count", fairness=of("queued"))
        ended = await create(caller, fairness=of("ended"))
        await cancel(caller, ended.id)
        before = await lanes_of(stores.task)
        await remove_idle(stores.task, keep=3600)
        assert await lanes_of(stores.task) == before
        await remove_idle(stores.task)
        after = await lanes_of(stores.task)
        assert before.keys() - after.keys() == {"ended"}
        # All of them go out, whatever they were before.
        await caller.ResumeTask(task_service_pb2.ResumeTaskRequest(task_id=asking.id))
        await agent.report(done(leases["running"]))
        await agent.resize(3)
        keys = {each.task.fairness.key for each in await agent.take(3)}
        assert keys == {"paused", "blocked", "queued"}


async def test_a_task_for_a_lane_that_was_removed_gets_another(
    stores: Stores, tokens: TokenFactory
) -> None:
    async with (
        keeping(stores, tokens, keep_lanes=1.0) as running,
        open_channel(running, tokens, "acme") as channel,
        connected(channel, "text.count") as agent,
    ):
        caller = TaskServiceStub(channel)
        for fairness in (None, of("customer")):
            await create(caller, fairness=fairness)
            [assignment] = await agent.take()
            await agent.report(done(assignment.lease))
        before = await lanes_of(stores.task)

        async def none_is_left() -> bool:
            return not await lanes_of(stores.task)

        await until_true(none_is_left)
        for fairness in (None, of("customer")):
            task = await create(caller, fairness=fairness)
            [assignment] = await agent.take()
            assert assignment.task.id == task.id
            await agent.report(done(assignment.lease))
        after = await lanes_of(stores.task)
    assert not set(before.values()) & set(after.values())


async def test_who_finds_a_lane_while_it_is_removed_makes_it_anew(stores: Stores) -> None:
    first = await stores.task.transaction(lambda tx: store.find_or_add(tx, KEY, 1.0))
    removed, committed = asyncio.Event(), asyncio.Event()

    async def remove(connection: Any) -> None:
        await store.remove_idle(connection, 0.0, 10)
        removed.set()
        await committed.wait()

    removing = asyncio.create_task(stores.task.transaction(remove))
    await removed.wait()
    finding = asyncio.create_task(
        stores.task.transaction(lambda tx: store.find_or_add(tx, KEY, 1.0))
    )
    await until_true(lambda: _somebody_waits(stores.task))
    committed.set()
    await removing
    second = await finding
    assert second.key == first.key
    assert second.id != first.id
    # What was just found is not idle.
    await remove_idle(stores.task, keep=3600)
    assert await lanes_of(stores.task) == {"": second.id}


async def _somebody_waits(database: Database) -> bool:
    async def read(connection: Any) -> bool:
        statement = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        return bool((await connection.execute(text(statement))).scalar_one())

    return await database.transaction(read)


async def test_a_lane_is_trusted_for_a_while_and_then_found_again(stores: Stores) -> None:
    seating = Seating(Steering())
    book = LaneBook(stores.task, seating, fresh=0.3)
    first = await book.lane_of(KEY, 1.0)
    assert seating.lanes == {first.id: first}
    await until(lambda: book.known_plain("acme", "text.count", 3) is None)
    await remove_idle(stores.task)
    second = await book.lane_of(KEY, 1.0)
    assert second.id != first.id
    assert book.known_plain("acme", "text.count", 3) == second
    # What holds tasks is known, but not to be trusted with others.
    await book.wait_in([second.id])
    heavier = await book.lane_of(KEY, 2.0)
    assert (heavier.id, heavier.weight) == (second.id, 2.0)

    async def the_first_is_forgotten() -> bool:
        await book.lane_of(KEY, 2.0)
        return first.id not in seating.lanes

    await until_true(the_first_is_forgotten)
    assert seating.lanes == {second.id: heavier}
