"""Tasks that start later, and how long things may take."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import task_policy_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import connected, failed, progress
from tests.integration.task.calls import (
    Event,
    between,
    create,
    end_of,
    get,
    history,
    later,
    names,
    seconds,
    state_of,
    until,
    waits_for,
)

pytestmark = pytest.mark.usefixtures("known")

# Long enough for what a test does within it, on a busy machine too.
SHORT = 0.6
START_IN = {"schedule_time": later, "delay": seconds}


def deadlines(**given: float) -> task_policy_pb2.Deadlines:
    return task_policy_pb2.Deadlines(**{name: seconds(value) for name, value in given.items()})


def backoff(initial: float) -> task_policy_pb2.RetryPolicy:
    return task_policy_pb2.RetryPolicy(initial_backoff=seconds(initial))


@pytest.mark.parametrize("field", ["schedule_time", "delay"])
async def test_a_task_does_not_start_before_its_time(
    channel: aio.Channel, caller: TaskServiceStub, field: str
) -> None:
    async with connected(channel, "text.count") as agent:
        fields: dict[str, Any] = {field: START_IN[field](SHORT)}
        task = await create(caller, **fields)
        assert (state_of(task), waits_for(task)) == ("SCHEDULED", "TIME")
        since, wanted = (
            (task.create_time, SHORT) if field == "delay" else (fields["schedule_time"], 0)
        )
        assert between(since, task.schedule_time) == pytest.approx(wanted, abs=0.001)
        [assignment] = await agent.take()
        started = assignment.task.start_time
        assert between(task.schedule_time, started) >= 0
        event = await until(caller, task.id, Event.TYPE_STARTED)
        assert event.sequence == 3
        assert await get(caller, task.id) == assignment.task


async def test_a_time_that_has_passed_is_now(caller: TaskServiceStub) -> None:
    assert state_of(await create(caller, schedule_time=later(-3600))) == "QUEUED"


async def test_a_task_starts_at_a_time_or_after_a_delay_but_not_both(
    caller: TaskServiceStub,
) -> None:
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "task.delay"):
        await create(caller, schedule_time=later(1), delay=seconds(1))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"deadlines": deadlines(queue=SHORT)}, "QueueTimeout"),
        ({"deadlines": deadlines(total=SHORT)}, "TotalTimeout"),
        ({"deadlines": deadlines(total=SHORT), "delay": seconds(60)}, "TotalTimeout"),
        ({"expire_time": SHORT}, "Expired"),
        ({"expire_time": SHORT, "delay": seconds(60)}, "Expired"),
    ],
)
async def test_a_task_that_nobody_takes_in_time_fails(
    caller: TaskServiceStub, fields: dict[str, Any], error: str
) -> None:
    if "expire_time" in fields:
        fields = {**fields, "expire_time": later(fields["expire_time"])}
    task = await create(caller, **fields)
    ended = await end_of(caller, task.id)
    assert (state_of(ended), ended.error.type, ended.attempt) == ("FAILED", error, 0)
    since = ended.expire_time if error == "Expired" else task.create_time
    assert between(since, ended.end_time) >= (0 if error == "Expired" else SHORT)


async def test_a_task_that_was_taken_has_met_its_queue_deadline_and_does_not_expire(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    queue = deadlines(queue=SHORT)
    async with connected(channel, "text.count") as agent:
        expire_time = later(SHORT)
        taken = await create(caller, deadlines=queue, expire_time=expire_time)
        await agent.take()
        other = await create(caller, capability="text.other", expire_time=expire_time)
        assert (await end_of(caller, other.id)).error.type == "Expired"
        assert state_of(await get(caller, taken.id)) == "RUNNING"


async def test_an_attempt_that_takes_too_long_has_failed_and_another_follows(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller, deadlines=deadlines(attempt=SHORT), max_attempts=2)
        [first] = await agent.take()
        assert list((await agent.next("cancellations")).leases) == [first.lease]
        retrying = await until(caller, task.id, Event.TYPE_RETRYING)
        assert retrying.task.error.type == "AttemptTimeout"
        [late] = await agent.report(failed(first.lease))
        assert (late.accepted, late.reason) == (False, "LEASE_LOST")
        [second] = await agent.take()
        assert second.task.attempt == 2
        ended = await end_of(caller, task.id)
    assert (state_of(ended), ended.error.type) == ("DEAD_LETTERED", "AttemptTimeout")


async def test_a_handler_without_a_sign_of_life_has_failed(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller, deadlines=deadlines(heartbeat=SHORT), max_attempts=1)
        [assignment] = await agent.take()
        await agent.report(progress(assignment.lease, 0.1))
        await agent.report(progress(assignment.lease, 0.2))
        # The stream's heartbeat is the process's sign of life, not the handler's.
        await agent.beat(assignment.lease)
        events = await history(caller, task.id)
    assert names(events) == ["CREATED", "STARTED", "PROGRESSED", "PROGRESSED", "DEAD_LETTERED"]
    assert events[-1].task.error.type == "HeartbeatTimeout"
    assert between(events[3].time, events[-1].time) >= SHORT * 0.99


async def test_the_total_deadline_counts_attempts_and_waits(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        total = deadlines(total=2 * SHORT)
        waiting = await create(caller, deadlines=total, retry_policy=backoff(3600))
        running = await create(caller, deadlines=total)
        leases = {each.task.id: each.lease for each in await agent.take(2)}
        await agent.report(failed(leases[waiting.id]))
        assert list((await agent.next("cancellations")).leases) == [leases[running.id]]
        for task in (waiting, running):
            ended = await end_of(caller, task.id)
            assert (state_of(ended), ended.error.type) == ("FAILED", "TotalTimeout")
            assert between(task.create_time, ended.end_time) >= SHORT * 1.9
