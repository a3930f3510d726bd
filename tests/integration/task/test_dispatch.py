"""What agents see: assignments, receipts, lost leases."""

from __future__ import annotations

import uuid

from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import (
    HandAgent,
    connected,
    done,
    failed,
    progress,
    register,
    released,
)
from tests.integration.task.calls import cancel, create, get, history, names
from tests.integration.task.conftest import open_channel

SUCCEEDED, FAILED, DEAD_LETTERED, RUNNING, QUEUED = (
    task_pb2.TASK_STATE_SUCCEEDED,
    task_pb2.TASK_STATE_FAILED,
    task_pb2.TASK_STATE_DEAD_LETTERED,
    task_pb2.TASK_STATE_RUNNING,
    task_pb2.TASK_STATE_QUEUED,
)


async def test_a_task_goes_out_comes_back_and_is_done(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        created = await create(caller)
        [assignment] = await agent.take()
        assert assignment.task.id == created.id
        assert assignment.lease == dispatch.Lease(task_id=created.id, epoch=1)
        running = await get(caller, created.id)
        assert (running.state, running.agent_id, running.attempt) == (RUNNING, agent.id, 1)
        [first] = await agent.report(progress(assignment.lease, 0.5))
        [second] = await agent.report(done(assignment.lease, "three"))
        assert first.accepted
        assert second.accepted
        ended = await get(caller, created.id)
    assert (ended.state, ended.result.string_value) == (SUCCEEDED, "three")
    assert ended.progress.fraction == 0.5


async def test_what_waits_goes_out_by_priority_then_age(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await register(channel, "hand", ["text.count", "text.other"])
    low, high, middle, late = [
        (await create(caller, priority=priority, capability=capability)).id
        for priority, capability in (
            (0, "text.count"),
            (9, "text.other"),
            (5, "text.count"),
            (5, "text.other"),
        )
    ]
    async with connected(channel, "text.count", "text.other", slots=4) as agent:
        assert [each.task.id for each in await agent.take(4)] == [high, middle, late, low]


async def test_an_agent_never_holds_more_than_its_slots(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        ids = [(await create(caller)).id for _ in range(3)]
        held = await agent.take(2)
        states = [(await get(caller, task_id)).state for task_id in ids]
        assert states == [RUNNING, RUNNING, QUEUED]
        await agent.report(done(held[0].lease))
        [third] = await agent.take()
        assert third.task.id == ids[2]


async def test_a_retryable_failure_is_tried_again_until_attempts_are_used_up(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller, max_attempts=2)).id
        [first] = await agent.take()
        await agent.report(failed(first.lease, retryable=True))
        [second] = await agent.take()
        assert second.lease == dispatch.Lease(task_id=task_id, epoch=2)
        await agent.report(failed(second.lease, retryable=True))
        ended = await get(caller, task_id)
    assert (ended.state, ended.attempt, ended.error.type) == (DEAD_LETTERED, 2, "Boom")


async def test_a_failure_that_is_final_is_final(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller, max_attempts=5)).id
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease, retryable=False))
        ended = await get(caller, task_id)
    assert (ended.state, ended.attempt) == (FAILED, 1)


async def test_a_task_given_back_costs_no_attempt(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [first] = await agent.take()
        await agent.report(released(first.lease))
        [second] = await agent.take()
        assert (second.lease.epoch, second.task.attempt) == (2, 1)
        assert second.task.id == task_id


async def test_a_terminal_report_that_comes_again_is_accepted_without_effect(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [assignment] = await agent.take()
        report = done(assignment.lease, "first")
        receipts = await agent.report(report, report, done(assignment.lease, "second"))
        assert all(receipt.accepted for receipt in receipts)
        late = (await agent.report(failed(assignment.lease, retryable=True)))[0]
        assert (late.accepted, late.reason) == (False, "LEASE_LOST")
        ended = await get(caller, task_id)
    assert (ended.state, ended.result.string_value) == (SUCCEEDED, "first")


async def test_reports_under_a_stale_or_foreign_lease_are_refused(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        connected(channel, "text.count", name="holder") as holder,
        connected(channel, "text.other", name="other") as other,
    ):
        task_id = (await create(caller)).id
        [assignment] = await holder.take()
        stale = dispatch.Lease(task_id=task_id, epoch=2)
        unknown = dispatch.Lease(task_id=str(uuid.uuid4()), epoch=1)
        refused = [
            *await holder.report(done(stale), done(unknown)),
            *await other.report(done(assignment.lease)),
        ]
        assert [receipt.reason for receipt in refused] == ["LEASE_LOST"] * 3
        assert (await get(caller, task_id)).state == RUNNING


async def test_a_lease_taken_away_is_told_and_reports_on_it_are_refused(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [assignment] = await agent.take()
        await cancel(caller, task_id, grace=0)
        assert list((await agent.next("cancellations")).leases) == [assignment.lease]
        [receipt] = await agent.report(done(assignment.lease))
        assert not receipt.accepted
        # Its slot is free again.
        following = (await create(caller)).id
        [assignment] = await agent.take()
        assert assignment.task.id == following


async def test_an_agent_that_reconnects_keeps_its_leases(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        task_id = (await create(caller)).id
        [assignment] = await agent.take()
    gone = dispatch.Lease(task_id=str(uuid.uuid4()), epoch=1)
    holding = [assignment.lease, gone]
    async with connected(channel, "text.count", slots=2, holding=holding) as agent:
        assert list(agent.welcome.lost) == [gone]
        [receipt] = await agent.report(done(assignment.lease))
        assert receipt.accepted
    assert (await get(caller, task_id)).state == SUCCEEDED


async def test_a_task_made_on_one_replica_goes_out_on_another(
    stores: Stores, tokens: TokenFactory, caller: TaskServiceStub
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(elsewhere, "text.count") as agent,
    ):
        task_id = (await create(caller)).id
        [assignment] = await agent.take()
        await cancel(caller, task_id, grace=0)
        lost = await agent.next("cancellations")
    assert assignment.task.id == task_id
    assert list(lost.leases) == [assignment.lease]


async def test_tasks_go_only_to_agents_of_their_tenant(
    small_mesh: RunningReplica, tokens: TokenFactory, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with (
        open_channel(small_mesh, tokens, "umbrella") as elsewhere,
        connected(elsewhere, "text.count", name="foreign"),
        connected(channel, "text.count", name="own") as own,
    ):
        task_id = (await create(caller)).id
        [assignment] = await own.take()
    assert assignment.task.id == task_id


async def test_a_draining_server_says_so_and_gives_out_nothing(
    small_mesh: RunningReplica, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        await small_mesh.task.dispatcher.drain()
        assert await agent.next("drain") is not None
        task_id = (await create(caller)).id
        assert (await get(caller, task_id)).state == QUEUED


async def test_the_history_tells_all_of_it_in_order(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        await _fail_then_finish(agent)
    events = await history(caller, task_id)
    assert names(events) == [
        "CREATED",
        "STARTED",
        "RETRYING",
        "QUEUED",
        "STARTED",
        "PROGRESSED",
        "SUCCEEDED",
    ]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert events[2].task.error.message == "it went wrong"
    assert events[-1].task.result.string_value == "done"


async def _fail_then_finish(agent: HandAgent) -> None:
    [first] = await agent.take()
    await agent.report(failed(first.lease, retryable=True))
    [second] = await agent.take()
    await agent.report(progress(second.lease, 0.25), done(second.lease))
