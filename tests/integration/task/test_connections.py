"""Who is connected: seen from every replica, and gone when it is gone."""

from __future__ import annotations

import uuid

import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from services.task import presence
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import connected, done, register
from tests.integration.task.calls import create, seconds
from tests.integration.task.conftest import open_channel
from tests.integration.task.steering import connections, make
from tests.waiting import until_true


async def test_a_connection_tells_who_it_is_and_what_it_holds(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    process_id = str(uuid.uuid4())
    async with connected(
        channel,
        "text.other",
        "text.count",
        name="worker",
        slots=150,
        process_id=process_id,
        build_id="v1",
    ) as agent:
        await make(caller, 120)
        taken = await agent.take(120)
        [seen] = await connections(channel)
        assert (seen.agent_id, seen.agent_name) == (agent.id, "worker")
        assert (seen.process_id, seen.build_id) == (process_id, "v1")
        assert list(seen.capabilities) == ["text.count", "text.other"]
        assert (seen.slots, seen.held) == (150, 120)
        assert len(seen.task_ids) == 100
        assert set(seen.task_ids) <= {each.task.id for each in taken}
        assert seen.connect_time.ToSeconds() <= seen.last_seen_time.ToSeconds() + 1
        await agent.report(*(done(each.lease) for each in taken))
        await agent.resize(7)
        await agent.beat()
        await agent.next("pulse")
        [seen] = await connections(channel)
        assert (seen.slots, seen.held, list(seen.task_ids)) == (7, 0, [])


async def test_connections_come_by_name_and_go(channel: aio.Channel) -> None:
    async with connected(channel, "text.count", name="zeta"):
        async with (
            connected(channel, "text.count", name="alpha"),
            connected(channel, "text.count", name="Omega"),
        ):
            names = [each.agent_name for each in await connections(channel)]
            assert names == ["Omega", "alpha", "zeta"]

        async def alone() -> bool:
            return [each.agent_name for each in await connections(channel)] == ["zeta"]

        await until_true(alone)


async def test_connections_are_the_tenants_own(
    small_mesh: RunningReplica, tokens: TokenFactory, channel: aio.Channel
) -> None:
    async with (
        open_channel(small_mesh, tokens, "umbrella") as elsewhere,
        connected(channel, "text.count"),
    ):
        assert await connections(elsewhere) == []


async def test_any_replica_knows_of_all_connections(
    stores: Stores,
    tokens: TokenFactory,
    channel: aio.Channel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "_TELL_SECONDS", 0.05)
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(elsewhere, "text.count", name="there", slots=3) as agent,
    ):
        await create(TaskServiceStub(elsewhere))
        [held] = await agent.take()

        async def seen() -> bool:
            return [(each.agent_name, each.held, list(each.task_ids))
                    for each in await connections(channel)] == [
                ("there", 1, [held.task.id])
            ]  # fmt: skip

        await until_true(seen)
    # It has said goodbye.
    assert await connections(channel) == []


async def test_the_connections_of_a_replica_that_died_are_forgotten(
    stores: Stores, channel: aio.Channel, small_mesh: RunningReplica
) -> None:
    async with connected(channel, "text.count", name="alive"):
        assert len(await connections(channel)) == 1
        await stores.task.transaction(
            lambda tx: tx.execute(
                text(
                    """
                    INSERT INTO connections
                    SELECT gen_random_uuid(), tenant, gen_random_uuid(), agent_id, 'dead',
                        process_id, capabilities, slots, held, build_id, sdk, connect_time,
                        now() - interval '31 s', task_ids
                    FROM connections
                    """
                )
            )
        )
        assert [each.agent_name for each in await connections(channel)] == ["alive"]
        await small_mesh.task.presence.sweep()
        count = text("SELECT count(*) FROM connections")
        rows = await stores.task.transaction(lambda tx: tx.execute(count))
        assert rows.scalar_one() == 1


async def test_who_only_claims_is_not_connected(channel: aio.Channel) -> None:
    agent_id = await register(channel, "caller", ["text.count"])
    claim = DispatchServiceStub(channel).ClaimTasks(
        dispatch.ClaimTasksRequest(
            agent_id=agent_id, capabilities=["text.count"], max_tasks=1, wait=seconds(0.3)
        )
    )
    assert await connections(channel) == []
    assert not (await claim).assignments
