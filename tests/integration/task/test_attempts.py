"""What is left of attempts: their history, their output, and what the next one gets."""

from __future__ import annotations

import pytest
from grpc import aio

from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.integration.replicas import Stores
from tests.integration.task.agents import (
    alive,
    connected,
    done,
    failed,
    output,
    progress,
    released,
)
from tests.integration.task.calls import Event, attempts, cancel, create, get, history, until
from tests.integration.task.test_leases import lapse

Attempt = task_pb2.Attempt


async def test_each_attempt_is_told_with_its_end(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", name="hand") as agent:
        task = await create(caller, max_attempts=9)
        [first] = await agent.take()
        await agent.report(progress(first.lease, 0.5), failed(first.lease))
        [second] = await agent.take()
        await agent.report(released(second.lease))
        [third] = await agent.take()
        await lapse(stores.task)
        [fourth] = await agent.take()
        await agent.report(progress(fourth.lease, 0.25))
        running = await attempts(caller, task.id)
        assert not running[-1].HasField("end_time")
        await cancel(caller, task.id, grace=0)
    told = await attempts(caller, task.id)
    assert [(each.attempt, each.epoch, each.outcome) for each in told] == [
        (1, first.lease.epoch, Attempt.OUTCOME_FAILED),
        (2, second.lease.epoch, Attempt.OUTCOME_RELEASED),
        (2, third.lease.epoch, Attempt.OUTCOME_FAILED),
        (3, fourth.lease.epoch, Attempt.OUTCOME_CANCELLED),
    ]
    assert [each.error.type for each in told] == ["Boom", "", "LeaseExpired", ""]
    assert [each.progress.fraction for each in told] == [0.5, 0, 0, 0.25]
    assert {(each.agent_id, each.agent_name) for each in told} == {(agent.id, "hand")}
    for each in told:
        assert each.start_time.ToNanoseconds() <= each.end_time.ToNanoseconds()


async def test_a_task_that_never_ran_has_no_attempts(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.other"):
        task = await create(caller, capability="text.other", delay={"seconds": 60})
        assert await attempts(caller, task.id) == []


@pytest.mark.parametrize("how", ["failed", "lapsed", "released"])
async def test_the_next_attempt_gets_the_last_checkpoint(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, how: str
) -> None:
    async with connected(channel, "text.count") as agent:
        await create(caller)
        [first] = await agent.take()
        assert not first.HasField("checkpoint")
        # A sign of life without a checkpoint leaves the last one as it is.
        await agent.report(
            alive(first.lease, "page 1"), alive(first.lease, "page 2"), alive(first.lease)
        )
        if how == "lapsed":
            await lapse(stores.task)
        else:
            report = failed if how == "failed" else released
            await agent.report(report(first.lease))
        [second] = await agent.take()
        assert second.checkpoint.string_value == "page 2"


async def test_output_is_watched_in_its_order_among_the_rest(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        lease = assignment.lease
        await agent.report(output(lease, b"one"), progress(lease, 0.5), output(lease, b"two"))
        live = await until(caller, task.id, Event.TYPE_OUTPUT, after=3)
        assert (live.sequence, live.output.data) == (5, b"two")
        await agent.report(output(lease, b"three"), done(lease))
    events = await history(caller, task.id)
    assert [event.sequence for event in events] == list(range(1, 8))
    chunks = [event.output.data for event in events if event.type == Event.TYPE_OUTPUT]
    assert chunks == [b"one", b"two", b"three"]
    [attempt] = await attempts(caller, task.id)
    assert attempt.outcome == Attempt.OUTCOME_SUCCEEDED


async def test_progress_is_that_of_the_last_attempt(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [first] = await agent.take()
        await agent.report(progress(first.lease, 0.5), failed(first.lease))
        [second] = await agent.take()
        running = await get(caller, task.id)
        assert not running.HasField("progress")
        await agent.report(progress(second.lease, 0.1))
        assert (await get(caller, task.id)).progress.fraction == 0.1


async def test_the_last_failure_is_shown_until_the_task_has_succeeded(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller, max_attempts=9)
        [first] = await agent.take()
        await agent.report(failed(first.lease))
        [second] = await agent.take()
        assert second.task.error.type == "Boom"
        assert (await get(caller, task.id)).error.message == "it went wrong"
        await agent.report(released(second.lease))
        [third] = await agent.take()
        await agent.report(done(third.lease))
        ended = await get(caller, task.id)
    assert not ended.HasField("error")
    shown = [bool(event.task.error.type) for event in await history(caller, task.id)]
    assert shown == [False, False, True, True, True, True, True, False]
    told = await attempts(caller, task.id)
    assert [each.error.type for each in told] == ["Boom", "", ""]


async def test_a_task_given_back_after_a_failure_may_be_given_back_again(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=1) as agent:
        await create(caller, max_attempts=9)
        [first] = await agent.take()
        again = await agent.report(failed(first.lease), failed(first.lease))
        assert all(receipt.accepted for receipt in again)
        [second] = await agent.take()
        await agent.resize(0)
        again = await agent.report(released(second.lease), released(second.lease))
        assert all(receipt.accepted for receipt in again)
        [other] = await agent.report(failed(second.lease, kind="Other"))
        assert not other.accepted
