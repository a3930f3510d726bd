"""What operators see of queues."""

from __future__ import annotations

import re
from functools import partial

import pytest
from grpc import aio
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from services.task.store.queues import BY_INDEX, RUNNING, WAITING
from tests.integration.replicas import RunningReplica, Stores
from tests.integration.task.agents import connected
from tests.integration.task.calls import create, get, seconds
from tests.integration.task.conftest import open_channel
from tests.integration.task.steering import limit, make, queues


@pytest.mark.usefixtures("known")
async def test_a_queue_tells_what_waits_runs_and_is_to_come(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        first, *_ = await make(caller, 4)
        await agent.take()
        oldest = (await make(caller, 1, capability="text.other"))[0]
        await create(caller, delay=seconds(3600))
        await make(caller, 2, capability="text.other", concurrency_limits=[limit("key")])
        listed = await queues(channel)
    count, other = listed["text.count"], listed["text.other"]
    assert (count.queued, count.running, count.scheduled) == (3, 1, 1)
    assert (other.queued, other.running, other.scheduled) == (3, 0, 0)
    assert other.oldest_create_time == (await get(caller, oldest)).create_time
    assert count.oldest_create_time.ToNanoseconds() >= (
        (await get(caller, first)).create_time.ToNanoseconds()
    )


@pytest.mark.usefixtures("known")
async def test_a_queue_of_nothing_is_not_there(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    assert await queues(channel) == {}
    await create(caller, delay=seconds(3600))
    [only] = (await queues(channel)).values()
    assert (only.queued, only.scheduled) == (0, 1)
    assert not only.HasField("oldest_create_time")


@pytest.mark.usefixtures("known")
async def test_queues_are_the_tenants_own(
    small_mesh: RunningReplica, tokens: TokenFactory, caller: TaskServiceStub
) -> None:
    await make(caller, 2)
    async with open_channel(small_mesh, tokens, "umbrella") as elsewhere:
        assert await queues(elsewhere) == {}


_CROWD = text(
    """
    INSERT INTO tasks (id, tenant, capability, state, priority, attempt, max_attempts, epoch,
        creator, create_time, ready_time, last_sequence, depth, agent_name, tokens, cost, input,
        labels, attributes, lane, awaits)
    SELECT uuidv7(), 'acme', 'text.count', CASE n % 10 WHEN 0 THEN 'scheduled' ELSE 'queued' END,
        0, 0, 1, 0, 'crowd', now(), now(), 1, 0, '', 0, 0, '', '{}', '{}',
        (SELECT min(id) FROM lanes), 0
    FROM generate_series(1, 30000) AS n
    """
)


@pytest.mark.usefixtures("known")
async def test_a_crowd_is_counted_by_index_and_to_a_bound(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    await create(caller)
    await stores.task.transaction(lambda tx: tx.execute(_CROWD))
    await stores.task.transaction(lambda tx: tx.execute(text("ANALYZE tasks")))
    [only] = (await queues(channel)).values()
    assert (only.queued, only.scheduled) == (10_000, 3000)
    for query, indexes in ((WAITING, "queue|aside|pkey"), (RUNNING, "list")):
        plan = await stores.task.transaction(partial(explained, query))
        walks = re.findall(r"\S.* on tasks\b", plan)
        assert walks
        for walk in walks:
            assert re.search(rf"Index .*Scan using tasks_({indexes}) on", walk), plan


async def explained(query: TextClause, connection: AsyncConnection) -> str:
    """Return how the database counts."""
    await connection.execute(BY_INDEX)
    rows = await connection.execute(text(f"EXPLAIN {query}"), {"tenant": "acme"})
    return "\n".join(rows.scalars())
