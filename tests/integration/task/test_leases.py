"""Leases run out by the database's clock, and who held them is fenced off."""

from __future__ import annotations

from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from tests.integration.replicas import Stores
from tests.integration.task.agents import connected, done
from tests.integration.task.calls import Event, create, get, until


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


async def test_a_heartbeat_prolongs_what_is_held_and_names_what_is_lost(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        kept_id, lost_id = (await create(caller)).id, (await create(caller)).id
        kept, lost = await agent.take(2)
        await stores.task.transaction(
            lambda tx: tx.execute(
                text("UPDATE tasks SET epoch = epoch + 1, lease_time = now() WHERE id = :id"),
                {"id": lost_id},
            )
        )
        await stores.task.transaction(
            lambda tx: tx.execute(
                text("UPDATE tasks SET lease_time = now() + interval '1 h' WHERE id = :id"),
                {"id": lost_id},
            )
        )
        before = await _lease_end(stores.task, kept_id)
        await agent.beat(kept.lease, lost.lease)
        cancellations = await agent.next("cancellations")
        assert list(cancellations.leases) == [
            dispatch.Lease(task_id=lost_id, epoch=lost.lease.epoch)
        ]
        assert await _lease_end(stores.task, kept_id) > before


async def _lease_end(database: Database, task_id: str) -> float:
    query = text("SELECT extract(epoch FROM lease_time) FROM tasks WHERE id = :id")
    result = await database.transaction(lambda tx: tx.execute(query, {"id": task_id}))
    return float(result.scalar_one())
