"""When failed attempts are followed by others."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import task_pb2, task_policy_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import HandAgent, connected, done, failed
from tests.integration.task.calls import (
    Event,
    between,
    create,
    get,
    history,
    names,
    retry,
    seconds,
    state_of,
    until,
    waits_for,
)


async def wait_after_failure(
    caller: TaskServiceStub, agent: HandAgent, task_id: str, after: int
) -> tuple[float, int]:
    """Fail the attempt that the agent is given; return the wait before the next one."""
    [assignment] = await agent.take()
    await agent.report(failed(assignment.lease))
    event = await until(caller, task_id, Event.TYPE_RETRYING, after=after)
    waiting = await get(caller, task_id)
    assert (state_of(waiting), waits_for(waiting)) == ("SCHEDULED", "TIME")
    return between(event.time, waiting.schedule_time), event.sequence


async def test_waits_grow_by_the_multiplier_to_the_longest(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    policy = task_policy_pb2.RetryPolicy(
        initial_backoff=seconds(100), multiplier=3, max_backoff=seconds(500)
    )
    waits, sequence = [], 0
    async with connected(channel, "text.count") as agent:
        task = await create(caller, retry_policy=policy, max_attempts=9)
        for _ in range(4):
            wait, sequence = await wait_after_failure(caller, agent, task.id, sequence)
            waits.append(wait)
            await retry(caller, task.id)
    assert waits == pytest.approx([100, 300, 500, 500], abs=0.001)


async def test_a_task_that_waits_can_be_tried_at_once(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    policy = task_policy_pb2.RetryPolicy(initial_backoff=seconds(3600))
    async with connected(channel, "text.count") as agent:
        task = await create(caller, retry_policy=policy)
        [first] = await agent.take()
        await agent.report(failed(first.lease))
        assert (await retry(caller, task.id)).id == task.id
        [second] = await agent.take()
        assert (second.task.id, second.task.attempt) == (task.id, 2)
        with refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_STATE_CONFLICT"):
            await retry(caller, task.id)
        await agent.report(done(second.lease))
    assert names(await history(caller, task.id)) == [
        "CREATED",
        "STARTED",
        "RETRYING",
        "QUEUED",
        "STARTED",
        "SUCCEEDED",
    ]


async def test_the_cause_of_a_failure_can_ask_for_a_longer_wait(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    policy = task_policy_pb2.RetryPolicy(initial_backoff=seconds(30))
    async with connected(channel, "text.count", slots=2) as agent:
        longer, shorter = [await create(caller, retry_policy=policy) for _ in range(2)]
        leases = {each.task.id: each.lease for each in await agent.take(2)}
        await agent.report(
            failed(leases[longer.id], retry_after=seconds(1000)),
            failed(leases[shorter.id], retry_after=seconds(1)),
        )
        for task, wanted in ((longer, 1000), (shorter, 30)):
            event = await until(caller, task.id, Event.TYPE_RETRYING)
            schedule_time = (await get(caller, task.id)).schedule_time
            assert between(event.time, schedule_time) == pytest.approx(wanted, abs=0.001)


@pytest.mark.parametrize("types", [["Boom"], ["Crash", "Boom"]])
async def test_errors_of_some_types_are_not_tried_again(
    channel: aio.Channel, caller: TaskServiceStub, types: list[str]
) -> None:
    policy = task_policy_pb2.RetryPolicy(non_retryable_types=types)
    async with connected(channel, "text.count") as agent:
        task = await create(caller, retry_policy=policy, max_attempts=5)
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease))
        ended = await get(caller, task.id)
    assert (state_of(ended), ended.attempt, ended.error.type) == ("FAILED", 1, "Boom")
    assert list(ended.retry_policy.non_retryable_types) == types


async def test_of_a_task_that_has_ended_a_copy_is_run(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        wanted = task_pb2.Task(labels={"team": "red"}, priority=3, max_attempts=1)
        wanted.input.update({"text": "a b"})
        wanted.attributes.update({"amount": 3})
        task = await create(
            caller,
            labels=wanted.labels,
            priority=wanted.priority,
            max_attempts=wanted.max_attempts,
            input=wanted.input,
            attributes=wanted.attributes,
        )
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease))
        copy = await retry(caller, task.id, request_id="again")
        assert (copy.replay_of, copy.id != task.id) == (task.id, True)
        assert (await retry(caller, task.id, request_id="again")).id == copy.id
        [assignment] = await agent.take()
        again = assignment.task
    assert (dict(again.labels), again.priority, again.max_attempts) == ({"team": "red"}, 3, 1)
    assert (again.input, again.attributes) == (wanted.input, wanted.attributes)
    assert state_of(await get(caller, task.id)) == "DEAD_LETTERED"
