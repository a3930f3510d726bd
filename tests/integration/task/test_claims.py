"""Agents that can't hold a stream: they claim, renew and report call by call."""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import RunningReplica, Stores
from tests.integration.task.agents import connected, done, register, stopped
from tests.integration.task.calls import cancel, create, end_of, get, seconds, state_of
from tests.integration.task.test_leases import lapse
from tests.waiting import until


class Claimer:
    """An agent without a stream."""

    def __init__(self, channel: aio.Channel, agent_id: str) -> None:
        self._stub = DispatchServiceStub(channel)
        self.id = agent_id

    async def claim(
        self, count: int = 1, *, wait: Duration | None = None
    ) -> list[dispatch.Assignment]:
        """Take up to so many tasks."""
        request = dispatch.ClaimTasksRequest(
            agent_id=self.id, capabilities=["text.count"], max_tasks=count, wait=wait
        )
        answer = await self._stub.ClaimTasks(request)
        assert answer.lease_duration.seconds == 600
        return list(answer.assignments)

    async def report(self, *reports: dispatch.Report) -> list[tuple[bool, str]]:
        """Report, and return what the receipts say."""
        request = dispatch.ReportTasksRequest(agent_id=self.id, reports=reports)
        receipts = (await self._stub.ReportTasks(request)).receipts
        return [(receipt.accepted, receipt.reason) for receipt in receipts]

    async def renew(self, *leases: dispatch.Lease) -> dispatch.RenewLeasesResponse:
        """Renew leases."""
        request = dispatch.RenewLeasesRequest(agent_id=self.id, holding=leases)
        return await self._stub.RenewLeases(request)


async def claimer(channel: aio.Channel) -> Claimer:
    return Claimer(channel, await register(channel, "caller", ["text.count"]))


async def test_tasks_are_claimed_and_reported(
    channel: aio.Channel, caller: TaskServiceStub, small_mesh: RunningReplica
) -> None:
    agent = await claimer(channel)
    tasks = [await create(caller) for _ in range(3)]
    claimed = await agent.claim(2)
    assert [each.task.id for each in claimed] == [tasks[0].id, tasks[1].id]
    assert state_of(await get(caller, tasks[2].id)) == "QUEUED"
    first, second = [each.lease for each in claimed]
    stale = dispatch.Lease(task_id=first.task_id, epoch=9)
    assert await agent.report(done(first), done(stale), done(second), done(first)) == [
        (True, ""),
        (False, "LEASE_LOST"),
        (True, ""),
        (True, ""),
    ]
    assert state_of(await get(caller, tasks[0].id)) == "SUCCEEDED"
    [last] = await agent.claim()
    assert last.task.id == tasks[2].id
    assert await agent.claim() == []
    assert small_mesh.task.dispatcher.streams == set()


async def test_who_waits_gets_the_next_task_at_once(
    channel: aio.Channel, caller: TaskServiceStub, small_mesh: RunningReplica
) -> None:
    agent = await claimer(channel)
    waiting = asyncio.create_task(agent.claim(wait=seconds(30)))
    await until(lambda: bool(small_mesh.task.dispatcher.streams))
    # The replica looks after its streams meanwhile, and this one is none too old.
    small_mesh.task.dispatcher._look_after_streams()
    task = await create(caller)
    [claimed] = await waiting
    assert claimed.task.id == task.id


async def test_who_goes_away_while_it_waits_takes_nothing_along(
    channel: aio.Channel, caller: TaskServiceStub, small_mesh: RunningReplica
) -> None:
    agent = await claimer(channel)
    for _ in range(3):
        waiting = asyncio.create_task(agent.claim(wait=seconds(30)))
        await until(lambda: bool(small_mesh.task.dispatcher.streams))
        waiting.cancel()
        await asyncio.wait([waiting])
    task = await create(caller)
    await until(lambda: not small_mesh.task.dispatcher.streams)
    [claimed] = await agent.claim(wait=seconds(10))
    assert (claimed.task.id, claimed.task.attempt) == (task.id, 1)


async def test_renewal_tells_what_is_lost_and_what_is_to_stop(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    agent = await claimer(channel)
    lost_task = await create(caller)
    [lost] = await agent.claim()
    await lapse(stores.task)
    # As soon as it has lapsed, somebody else can have it.
    async with connected(channel, "text.count") as other:
        await other.take()
        kept_task, stopping_task = [await create(caller) for _ in range(2)]
        kept, stopping = await agent.claim(2)
        await cancel(caller, stopping_task.id)
        renewed = await agent.renew(lost.lease, kept.lease, stopping.lease)
    assert list(renewed.lost) == [lost.lease]
    assert list(renewed.cancel_requested) == [stopping.lease]
    assert renewed.lease_duration.seconds == 600
    assert await agent.report(stopped(stopping.lease), done(kept.lease), done(lost.lease)) == [
        (True, ""),
        (True, ""),
        (False, "LEASE_LOST"),
    ]
    assert state_of(await end_of(caller, stopping_task.id)) == "CANCELLED"
    assert state_of(await end_of(caller, kept_task.id)) == "SUCCEEDED"
    assert (await get(caller, lost_task.id)).attempt == 2


async def test_leases_are_the_agents_own(channel: aio.Channel, caller: TaskServiceStub) -> None:
    agent = await claimer(channel)
    thief = Claimer(channel, await register(channel, "thief", ["text.count"]))
    await create(caller)
    [claimed] = await agent.claim()
    assert await thief.report(done(claimed.lease)) == [(False, "LEASE_LOST")]
    assert list((await thief.renew(claimed.lease)).lost) == [claimed.lease]


async def test_only_what_was_registered_can_be_claimed(channel: aio.Channel) -> None:
    agent_id = await register(channel, "other", ["text.other"])
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "capabilities"):
        await Claimer(channel, agent_id).claim()


async def test_a_draining_replica_hands_nothing_out(
    channel: aio.Channel, small_mesh: RunningReplica
) -> None:
    agent = await claimer(channel)
    await small_mesh.task.dispatcher.drain()
    with refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        await agent.claim()
