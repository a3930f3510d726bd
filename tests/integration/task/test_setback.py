"""The database's clock is set back: what it said before must not hold things up for as long."""

from __future__ import annotations

from functools import partial

import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import task_policy_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from services.task.store.setback import bring_near
from tests.integration.replicas import RULES, Stores
from tests.integration.task.agents import connected, done, failed
from tests.integration.task.calls import (
    Event,
    cancel,
    create,
    end_of,
    get,
    history,
    names,
    seconds,
    state_of,
    until,
)


async def be_ahead(database: Database, *columns: str, table: str = "tasks") -> None:
    """Have these times be an hour ahead, as they are once the clock was set back by an hour."""
    later = ", ".join(f"{column} = {column} + interval '1 h'" for column in columns)
    statement = text(f"UPDATE {table} SET {later}")  # noqa: S608 - the names are these tests' own
    await database.transaction(lambda connection: connection.execute(statement))


async def bring(database: Database) -> int:
    return await database.transaction(partial(bring_near, lease=RULES.lease))


HAPPENED = ("create_time", "start_time", "seen_time", "cancel_request_time")


async def test_a_lease_that_nobody_has_renewed_since_ends(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        await agent.take()
        await be_ahead(stores.task, *HAPPENED, "lease_time", "due_time")
        assert await bring(stores.task) == 1
        event = await until(caller, task.id, Event.TYPE_RETRYING)
        assert event.task.error.type == "LeaseExpired"


async def test_a_lease_that_was_renewed_since_goes_on(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        await be_ahead(stores.task, *HAPPENED)
        assert [await bring(stores.task), await bring(stores.task)] == [1, 0]
        assert not (await get(caller, task.id)).HasField("cancel_request_time")
        [receipt] = await agent.report(done(assignment.lease))
        assert receipt.accepted
        assert names(await history(caller, task.id)) == ["CREATED", "STARTED", "SUCCEEDED"]


async def test_a_grace_is_as_long_as_it_was(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        await agent.take()
        await cancel(caller, task.id, grace=0.3)
        await be_ahead(stores.task, *HAPPENED, "cancel_by", "due_time")
        await bring(stores.task)
        assert state_of(await end_of(caller, task.id)) == "CANCELLED"


async def test_another_attempt_comes_when_it_would_have(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    retry = task_policy_pb2.RetryPolicy(initial_backoff=seconds(0.3))
    async with connected(channel, "text.count") as agent:
        await create(caller, retry_policy=retry)
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease))
        await be_ahead(stores.task, *HAPPENED, "ready_time", "due_time")
        assert [await bring(stores.task), await bring(stores.task)] == [1, 0]
        [again] = await agent.take()
        assert again.task.attempt == 2


@pytest.mark.usefixtures("known")
async def test_what_was_to_start_at_an_hour_of_the_day_still_does(
    caller: TaskServiceStub, stores: Stores
) -> None:
    task = await create(caller, delay=seconds(60))
    await be_ahead(stores.task, "create_time", "ready_time", "due_time")
    assert await bring(stores.task) == 0
    assert state_of(await get(caller, task.id)) == "SCHEDULED"


async def test_a_bucket_is_at_most_empty(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    rate = task_policy_pb2.RateLimit(key="slow", limit=1, period=seconds(0.3))
    async with connected(channel, "text.count", slots=2) as agent:
        for _ in range(2):
            await create(caller, rate_limits=[rate])
        await agent.take()
        await be_ahead(stores.task, "full_time", "due_time", table="limits")
        assert [await bring(stores.task), await bring(stores.task)] == [1, 0]
        await agent.take()
