"""Tasks that a replica remembers, and what others do to them behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.ids import uuid7
from meshkit.testing.tokens import TokenFactory
from services.task.store import loading
from tests.integration.replicas import Stores, replica
from tests.integration.task.agents import connected, failed
from tests.integration.task.calls import create, get, state_of
from tests.integration.task.conftest import open_channel
from tests.waiting import until_true

pytestmark = pytest.mark.usefixtures("known")


@pytest.fixture
async def elsewhere(stores: Stores, tokens: TokenFactory) -> AsyncIterator[TaskServiceStub]:
    """Give what reaches another replica."""
    async with replica(stores, tokens) as second, open_channel(second, tokens, "acme") as channel:
        yield TaskServiceStub(channel)


async def test_what_another_replica_changed_counts(
    channel: aio.Channel, caller: TaskServiceStub, elsewhere: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        made = await create(caller, max_attempts=3)
        [running] = await agent.take()
        await elsewhere.UpdateTask(
            task_service_pb2.UpdateTaskRequest(
                task=task_pb2.Task(id=made.id, max_attempts=1),
                update_mask=FieldMask(paths=["max_attempts"]),
            )
        )
        await agent.report(failed(running.lease))
    assert state_of(await get(caller, made.id)) == "DEAD_LETTERED"


async def test_what_was_changed_by_hand_counts(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        made = await create(caller, max_attempts=3)
        [running] = await agent.take()
        await stores.task.transaction(
            lambda connection: connection.execute(text("UPDATE tasks SET max_attempts = 1"))
        )
        await agent.report(failed(running.lease))
    assert state_of(await get(caller, made.id)) == "DEAD_LETTERED"


async def test_what_a_claim_gives_has_what_its_caller_gave(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    """Of tasks that are remembered, of those that are too large for it, and of those changed."""
    inputs = [{"text": "short"}, {"text": "x" * 5000}, {"text": "labelled"}]
    made = [await create(caller, input=each, labels={"a": "1"}) for each in inputs]
    await caller.UpdateTask(
        task_service_pb2.UpdateTaskRequest(
            task=task_pb2.Task(id=made[2].id, labels={"a": "2"}),
            update_mask=FieldMask(paths=["labels"]),
        )
    )
    async with connected(channel, "text.count", slots=3) as agent:
        taken = [each.task for each in await agent.take(3)]
        assert [dict(each.input) for each in taken] == inputs
        assert [each.labels["a"] for each in taken] == ["1", "1", "2"]


async def test_who_waited_for_a_lock_sees_who_wrote_the_row(
    caller: TaskServiceStub, stores: Stores
) -> None:
    """PostgreSQL shows the `xmin` of the row as it is once the lock is had."""
    await create(caller)
    dsn = stores.task.url.set(drivername="postgresql").render_as_string(hide_password=False)
    one, two = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        made = await one.fetchval("SELECT id FROM tasks")
        change = one.transaction()
        await change.start()
        await one.execute("UPDATE tasks SET creator = 'somebody else'")
        writer = await one.fetchval("SELECT pg_current_xact_id()::xid")
        backend = two.get_server_pid()
        waiting = asyncio.create_task(loading.lock_versions(two, [made, uuid7()]))

        async def waits() -> bool:
            return bool(
                await one.fetchval(
                    "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1", backend
                )
            )

        await until_true(waits)
        await change.commit()
        assert await waiting == [(made, writer)]
    finally:
        await one.close()
        await two.close()
