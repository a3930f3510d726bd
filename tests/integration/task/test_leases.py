"""Leases run out by the database's clock, and who held them is fenced off."""

from __future__ import annotations

import asyncio

from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RULES, Stores, replica
from tests.integration.task.agents import connected, done
from tests.integration.task.calls import Event, create, get, until
from tests.integration.task.conftest import open_channel


async def lapse(database: Database) -> None:
    """Let every lease have run out a second ago."""
    statement = text(
        "UPDATE tasks SET lease_time = now() - interval '1 s', due_time = now()"
        " WHERE state = 'running'"
    )
    await database.transaction(lambda tx: tx.execute(statement))


async def test_a_silent_agents_task_goes_to_another_and_the_first_is_refused(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", name="silent") as silent:
        task_id = (await create(caller)).id
        [lost] = await silent.take()
        # So that its slot, free once the lease has lapsed, is not given the task again.
        await silent.call.write(dispatch.DispatchRequest(leaving=dispatch.Leaving()))
        await silent.next("drain")
        async with connected(channel, "text.count", name="eager") as eager:
            await lapse(stores.task)
            event = await until(caller, task_id, Event.TYPE_RETRYING)
            assert event.task.error.type == "LeaseExpired"
            [second] = await eager.take()
            assert second.lease.epoch > lost.lease.epoch
            [late] = await silent.report(done(lost.lease, "late"))
            assert (late.accepted, late.reason) == (False, "LEASE_LOST")
            [receipt] = await eager.report(done(second.lease, "right"))
            assert receipt.accepted
    ended = await get(caller, task_id)
    assert ended.result.string_value == "right"


async def test_a_lease_lost_on_the_last_attempt_dead_letters_the_task(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller, max_attempts=1)).id
        await agent.take()
        await lapse(stores.task)
        event = await until(caller, task_id, Event.TYPE_DEAD_LETTERED)
    assert (event.task.state, event.task.error.type) == (
        task_pb2.TASK_STATE_DEAD_LETTERED,
        "LeaseExpired",
    )


async def test_heartbeats_prolong_what_is_held_and_name_what_is_lost(
    stores: Stores, tokens: TokenFactory
) -> None:
    rules = RULES.model_copy(update={"lease": 3.0})
    async with (
        replica(stores, tokens, rules=rules) as running,
        open_channel(running, tokens, "acme") as channel,
        connected(channel, "text.count", slots=2) as agent,
    ):
        caller = TaskServiceStub(channel)
        kept_id, lost_id = (await create(caller)).id, (await create(caller)).id
        kept, lost = await agent.take(2)
        first_end = await _lease_end(stores.task, kept_id)
        await _lose(stores.task, lost_id)
        # A lease is renewed once a third of it is over.
        async with asyncio.timeout(30):
            while lost.lease not in agent.lost:
                await agent.beat(kept.lease, lost.lease)
                await agent.next("pulse")
            while await _lease_end(stores.task, kept_id) <= first_end + 0.5:
                await agent.beat(kept.lease)
                await agent.next("pulse")
        assert (await get(caller, kept_id)).attempt == 1
        assert all(each == lost.lease for each in agent.lost)


async def _lose(database: Database, task_id: str) -> None:
    """Have a task leased to somebody else, unheard of by the replica."""
    statement = text(
        "UPDATE tasks SET epoch = epoch + 1, lease_time = now() + interval '1 h', due_time = NULL"
        " WHERE id = :id"
    )
    await database.transaction(lambda tx: tx.execute(statement, {"id": task_id}))


async def _lease_end(database: Database, task_id: str) -> float:
    query = text("SELECT extract(epoch FROM lease_time) FROM tasks WHERE id = :id")
    result = await database.transaction(lambda tx: tx.execute(query, {"id": task_id}))
    return float(result.scalar_one())
