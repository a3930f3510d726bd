"""Creating once and in bulk, and creating and waiting in one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import connected, done
from tests.integration.task.calls import (
    create,
    create_batch,
    creation,
    end_of,
    get,
    seconds,
    state_of,
)

Result = task_service_pb2.CreateTaskResult


def reason_of(result: Result) -> tuple[str, list[str]]:
    """Return the reason of a refusal and the fields it blames."""
    reason, fields = "", []
    for detail in result.error.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        if detail.Unpack(bad):
            fields += [violation.field for violation in bad.field_violations]
    return reason, fields


BAD = [
    (creation(capability="text.nobody"), "CAPABILITY_UNKNOWN", "task.capability"),
    (creation(capability=""), "INVALID_ARGUMENT", "task.capability"),
    (creation(priority=10), "INVALID_ARGUMENT", "task.priority"),
    (task_service_pb2.CreateTaskRequest(), "INVALID_ARGUMENT", "task"),
    (
        creation(parent_id="01890a5d-ac96-774b-bcce-b302099a8057"),
        "RELATED_TASK_NOT_FOUND",
        "task.parent_id",
    ),
    (creation(delay=seconds(1), schedule_time={"seconds": 1}), "INVALID_ARGUMENT", "task.delay"),
]


@pytest.mark.usefixtures("known")
async def test_in_a_batch_only_what_is_wrong_is_refused(caller: TaskServiceStub) -> None:
    good = creation(labels={"n": "1"})
    requests = [good, *[bad for bad, _, _ in BAD], good]
    first, *refused, last = await create_batch(caller, *requests)
    assert [reason_of(each) for each in refused] == [(reason, [field]) for _, reason, field in BAD]
    assert all(each.task_id == "" for each in refused)
    assert first.task_id != last.task_id
    for each in (first, last):
        assert state_of(await get(caller, each.task_id)) == "QUEUED"


@pytest.mark.usefixtures("known")
async def test_request_ids_hold_within_a_batch_and_across(caller: TaskServiceStub) -> None:
    one, two = creation(request_id="one"), creation(request_id="two")
    other = creation(request_id="one", priority=5)
    results = await create_batch(caller, one, two, one, other)
    assert results[0].task_id == results[2].task_id
    assert results[0].task_id != results[1].task_id
    assert reason_of(results[3]) == ("REQUEST_ID_REUSED", ["request_id"])
    again = await create_batch(caller, two, one)
    assert [each.task_id for each in again] == [results[1].task_id, results[0].task_id]
    assert (await create(caller, request_id="one")).id == results[0].task_id


@pytest.mark.usefixtures("known")
async def test_a_refused_creation_leaves_its_request_id_free(caller: TaskServiceStub) -> None:
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
    bad = creation(request_id="one", parent_id=unknown)
    good = creation(request_id="one")
    results = await create_batch(caller, bad, bad, good, good)
    assert [bool(each.task_id) for each in results] == [False, False, True, True]
    assert results[2].task_id == results[3].task_id
    assert (await create(caller, request_id="one")).id == results[2].task_id
    assert reason_of((await create_batch(caller, bad))[0])[0] == "REQUEST_ID_REUSED"
    [refused] = await create_batch(caller, creation(request_id="two", parent_id=unknown))
    assert refused.task_id == ""
    assert (await create(caller, request_id="two")).id != ""


async def test_a_request_id_holds_after_the_tasks_end(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller, request_id="one")
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        again = await create(caller, request_id="one")
        assert (again.id, state_of(again)) == (task.id, "SUCCEEDED")
        with refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "request_id"):
            await create(caller, request_id="one", priority=1)


@pytest.mark.usefixtures("known")
async def test_requests_that_race_make_one_task(caller: TaskServiceStub) -> None:
    tasks = await asyncio.gather(*[create(caller, request_id="one") for _ in range(20)])
    assert len({task.id for task in tasks}) == 1


@pytest.mark.usefixtures("known")
async def test_a_stream_of_creations_is_answered_in_order(caller: TaskServiceStub) -> None:
    async def requests() -> AsyncIterator[task_service_pb2.StreamCreateTasksRequest]:
        for index in range(30):
            bad = creation(priority=10)
            each = [creation(request_id=f"{index}"), *([bad] if index % 3 == 0 else [])]
            yield task_service_pb2.StreamCreateTasksRequest(requests=each)

    answers = [answer async for answer in caller.StreamCreateTasks(requests())]
    assert [len(answer.results) for answer in answers] == [2, 1, 1] * 10
    for index in range(0, 30, 7):
        assert (await create(caller, request_id=f"{index}")).id == answers[index].results[0].task_id
    assert reason_of(answers[0].results[1]) == ("INVALID_ARGUMENT", ["task.priority"])


@pytest.mark.usefixtures("known")
async def test_a_stream_that_is_wrong_or_given_up_leaves_the_service_as_it_was(
    caller: TaskServiceStub,
) -> None:
    call = caller.StreamCreateTasks()
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "requests"):
        await call.write(task_service_pb2.StreamCreateTasksRequest())
        await call.read()
    for _ in range(5):
        call = caller.StreamCreateTasks()
        for _ in range(20):
            request = task_service_pb2.StreamCreateTasksRequest(requests=[creation()] * 50)
            await call.write(request)
        await call.read()
        call.cancel()
    assert state_of(await create(caller)) == "QUEUED"


async def run_task(caller: TaskServiceStub, wait: float, request_id: str = "") -> task_pb2.Task:
    request = task_service_pb2.RunTaskRequest(
        task=task_pb2.Task(capability="text.count"), wait=seconds(wait), request_id=request_id
    )
    return await caller.RunTask(request)


async def test_a_task_is_run_in_one_call(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with connected(channel, "text.count") as agent:
        running = asyncio.create_task(run_task(caller, 30, "one"))
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease, "three"))
        ended = await running
        assert (state_of(ended), ended.result.string_value) == ("SUCCEEDED", "three")
        assert await run_task(caller, 30, "one") == ended


async def test_who_has_waited_long_enough_gets_the_task_as_it_is(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await run_task(caller, 0.1, "one")
        assert state_of(task) == "RUNNING"
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        assert (await run_task(caller, 0, "one")).id == task.id
        assert state_of(await end_of(caller, task.id)) == "SUCCEEDED"
