"""Tasks that pause for an answer from outside."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from grpc import aio

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import HandAgent, connected, done, paused
from tests.integration.task.calls import (
    Event,
    attempts,
    cancel,
    create,
    end_of,
    get,
    later,
    state_of,
    until,
    waits_for,
)

INPUT, APPROVAL = (
    task_pb2.TaskPause.KIND_INPUT_REQUIRED,
    task_pb2.TaskPause.KIND_APPROVAL_REQUIRED,
)


async def resume(
    caller: TaskServiceStub, task_id: str, answer: str = "", *, reject: bool = False
) -> task_pb2.Task:
    request = task_service_pb2.ResumeTaskRequest(
        task_id=task_id, answer=Value(string_value=answer), reject=reject
    )
    return await caller.ResumeTask(request)


async def pause_one(
    caller: TaskServiceStub, agent: HandAgent, kind: task_pb2.TaskPause.Kind.ValueType = INPUT
) -> str:
    """Have a task paused, and return its id."""
    task = await create(caller)
    [assignment] = await agent.take()
    [receipt] = await agent.report(paused(assignment.lease, kind))
    assert receipt.accepted
    return task.id


@pytest.mark.parametrize("kind", [INPUT, APPROVAL])
async def test_a_paused_task_leaves_its_agent_and_comes_back_with_the_answer(
    channel: aio.Channel, caller: TaskServiceStub, kind: task_pb2.TaskPause.Kind.ValueType
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = await pause_one(caller, agent, kind)
        waiting = await get(caller, task_id)
        assert (state_of(waiting), waits_for(waiting)) == ("PAUSED", "ANSWER")
        assert (waiting.pause.kind, waiting.pause.prompt) == (kind, "Which one?")
        # Its slot is free.
        other = await create(caller)
        [assignment] = await agent.take()
        assert assignment.task.id == other.id
        await agent.report(done(assignment.lease))
        resumed = await resume(caller, task_id, "that one")
        assert not resumed.HasField("pause")
        [assignment] = await agent.take()
        assert (assignment.task.id, assignment.answer.string_value) == (task_id, "that one")
        assert (assignment.task.attempt, assignment.lease.epoch) == (1, 2)
        await agent.report(done(assignment.lease))
    outcomes = [(each.attempt, each.outcome) for each in await attempts(caller, task_id)]
    assert outcomes == [
        (1, task_pb2.Attempt.OUTCOME_PAUSED),
        (1, task_pb2.Attempt.OUTCOME_SUCCEEDED),
    ]


async def test_who_watches_sees_the_question_whenever_it_looks(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        live = asyncio.create_task(until(caller, task.id, Event.TYPE_PAUSED))
        [assignment] = await agent.take()
        await agent.report(paused(assignment.lease))
        await resume(caller, task.id, "that one")
        for event in (await live, await until(caller, task.id, Event.TYPE_PAUSED)):
            assert event.task.pause.prompt == "Which one?"


async def test_a_rejection_fails_the_task(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = await pause_one(caller, agent, APPROVAL)
        rejected = await resume(caller, task_id, reject=True)
    assert (state_of(rejected), rejected.error.type) == ("FAILED", "ApprovalRejected")


async def test_only_a_paused_task_can_be_answered(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = await pause_one(caller, agent)
        await resume(caller, task_id, "yes")
        with refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_STATE_CONFLICT"):
            await resume(caller, task_id, "no")
        [assignment] = await agent.take()
        assert assignment.answer.string_value == "yes"


async def test_a_pause_reported_twice_is_one_and_ends_the_lease(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        pause = paused(assignment.lease)
        receipts = await agent.report(pause, pause, done(assignment.lease))
        assert [receipt.accepted for receipt in receipts] == [True, True, False]
        assert state_of(await get(caller, task.id)) == "PAUSED"


async def test_a_paused_task_can_be_cancelled_and_expires(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = await pause_one(caller, agent)
        assert state_of(await cancel(caller, task_id)) == "CANCELLED"
        task = await create(caller, expire_time=later(0.2))
        [assignment] = await agent.take()
        await agent.report(paused(assignment.lease))
        ended = await end_of(caller, task.id)
    assert (state_of(ended), ended.error.type) == ("FAILED", "Expired")
