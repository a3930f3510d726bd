"""Each finished task is recorded with analytics, once, whenever analytics is there."""

from __future__ import annotations

import asyncio

from grpc import aio
from sqlalchemy import text

from mesh.analytics.v1 import analytics_service_pb2, invocation_pb2
from mesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from tests.integration.replicas import RunningReplica, Stores
from tests.integration.task.agents import connected, done, failed
from tests.integration.task.calls import cancel, create


async def recorded(channel: aio.Channel, count: int) -> list[invocation_pb2.Invocation]:
    """Wait until so many invocations are recorded, and return them."""
    stub = AnalyticsServiceStub(channel)
    async with asyncio.timeout(30):
        while True:
            request = analytics_service_pb2.ListInvocationsRequest(page_size=1000)
            found = list((await stub.ListInvocations(request)).invocations)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def outbox_size(database: Database) -> int:
    result = await database.transaction(lambda tx: tx.execute(text("SELECT count(*) FROM outbox")))
    return int(result.scalar_one())


async def test_every_end_is_recorded_as_it_was(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=3) as agent:
        good, bad, cancelled = [(await create(caller)).id for _ in range(3)]
        by_id = {each.task.id: each.lease for each in await agent.take(3)}
        await agent.report(done(by_id[good]), failed(by_id[bad], retryable=False))
        await cancel(caller, cancelled, grace=0)
        invocations = await recorded(channel, 3)
    outcomes = {each.task_id: (each.outcome, each.error_type) for each in invocations}
    assert outcomes == {
        good: (invocation_pb2.OUTCOME_SUCCEEDED, ""),
        bad: (invocation_pb2.OUTCOME_FAILED, "Boom"),
        cancelled: (invocation_pb2.OUTCOME_CANCELLED, ""),
    }
    assert {each.agent_name for each in invocations} == {"hand"}
    assert {each.caller for each in invocations} == {"key:tester"}


async def test_while_analytics_is_away_events_wait_and_then_arrive_once(
    small_mesh: RunningReplica, stores: Stores, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    refuse = text("ALTER TABLE invocations RENAME TO hidden")
    restore = text("ALTER TABLE hidden RENAME TO invocations")
    await stores.analytics.transaction(lambda tx: tx.execute(refuse))
    async with connected(channel, "text.count", slots=5) as agent:
        for _ in range(5):
            await create(caller)
        await agent.report(*[done(each.lease) for each in await agent.take(5)])
    assert await outbox_size(stores.task) == 5
    await stores.analytics.transaction(lambda tx: tx.execute(restore))
    small_mesh.task.relay.wake()
    assert len(await recorded(channel, 5)) == 5
    async with asyncio.timeout(30):
        while await outbox_size(stores.task):
            await asyncio.sleep(0.02)
    assert len(await recorded(channel, 5)) == 5
