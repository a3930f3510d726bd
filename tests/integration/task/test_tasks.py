"""What callers see of tasks."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import Stores
from tests.integration.task.calls import create, get

INVALID = grpc.StatusCode.INVALID_ARGUMENT
QUEUED = task_pb2.TASK_STATE_QUEUED


pytestmark = pytest.mark.usefixtures("known")


async def listed(caller: TaskServiceStub, filter_: str = "", size: int = 0) -> list[str]:
    """Every id that a list gives, page by page."""
    ids: list[str] = []
    token = ""
    while True:
        request = task_service_pb2.ListTasksRequest(
            filter=filter_, page_size=size, page_token=token
        )
        page = await caller.ListTasks(request)
        ids += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            return ids


async def test_a_task_is_kept_as_it_was_asked_for(caller: TaskServiceStub) -> None:
    wanted = task_pb2.Task(capability="text.count", priority=7, labels={"team": "red"})
    wanted.input.update({"text": "a b", "deep": {"list": [1, 2.5, None, True]}})
    request = task_service_pb2.CreateTaskRequest(task=wanted)
    created = await caller.CreateTask(request)
    assert created.state == QUEUED
    assert (created.priority, created.max_attempts) == (7, 3)
    assert created.input == wanted.input
    assert dict(created.labels) == {"team": "red"}
    assert created.creator == "key:tester"
    assert await get(caller, created.id) == created


async def test_the_same_request_id_and_task_is_the_same_task(caller: TaskServiceStub) -> None:
    first = await create(caller, request_id="once", priority=1)
    assert (await create(caller, request_id="once", priority=1)).id == first.id
    with refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "request_id"):
        await create(caller, request_id="once", priority=2)
    assert await listed(caller) == [first.id]


async def test_request_ids_are_the_tenants_own(
    caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    await create(caller, request_id="once")
    with refusal(INVALID, "CAPABILITY_UNKNOWN", "task.capability"):
        await create(stranger, request_id="once")


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"capability": ""}, "task.capability"),
        ({"capability": "Text Count"}, "task.capability"),
        ({"priority": 10}, "task.priority"),
        ({"max_attempts": -1}, "task.max_attempts"),
        ({"labels": {"": "x"}}, 'task.labels[""]'),
    ],
)
async def test_what_is_out_of_bounds_is_named_and_not_stored(
    caller: TaskServiceStub, fields: dict[str, Any], blamed: str
) -> None:
    with refusal(INVALID, "INVALID_ARGUMENT", blamed):
        await create(caller, **fields)
    assert await listed(caller) == []


async def test_an_unknown_capability_is_refused_and_not_stored(caller: TaskServiceStub) -> None:
    with refusal(INVALID, "CAPABILITY_UNKNOWN", "task.capability"):
        await create(caller, capability="text.nobody")
    assert await listed(caller) == []


async def test_another_tenants_task_is_as_if_it_were_not(
    caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    task = await create(caller)
    answers = []
    for task_id in (task.id, str(uuid.uuid4())):
        with pytest.raises(aio.AioRpcError) as refused:
            await get(stranger, task_id)
        answers.append((refused.value.code(), refused.value.details()))
    assert answers[0] == answers[1]
    with refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", "task_id"):
        await stranger.CancelTask(task_service_pb2.CancelTaskRequest(task_id=task.id))
    with refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", "task_id"):
        async for _ in stranger.WatchTask(task_service_pb2.WatchTaskRequest(task_id=task.id)):
            pass
    assert await listed(stranger) == []


async def test_an_id_that_is_none_is_named(caller: TaskServiceStub) -> None:
    with refusal(INVALID, "INVALID_ARGUMENT", "task_id"):
        await get(caller, "seven")


async def test_lists_are_paged_and_filtered_the_newest_first(caller: TaskServiceStub) -> None:
    counts = [(await create(caller)).id for _ in range(5)]
    other = (await create(caller, capability="text.other")).id
    await caller.CancelTask(task_service_pb2.CancelTaskRequest(task_id=counts[0]))
    everything = [other, *reversed(counts)]
    assert await listed(caller) == everything
    assert await listed(caller, size=2) == everything
    assert await listed(caller, 'capability = "text.other"') == [other]
    assert await listed(caller, "state = CANCELLED") == [counts[0]]
    assert await listed(caller, "state = QUEUED AND capability = text.count", size=2) == [
        *reversed(counts[1:])
    ]


@pytest.mark.parametrize(
    "expression", ["state = GONE", "agent_id = x", "color = red", "state =", "state = QUEUED OR"]
)
async def test_a_filter_that_makes_no_sense_is_refused(
    caller: TaskServiceStub, expression: str
) -> None:
    with refusal(INVALID, "INVALID_FILTER", "filter"):
        await listed(caller, expression)


async def test_a_page_token_of_another_query_is_refused(caller: TaskServiceStub) -> None:
    for _ in range(2):
        await create(caller)
    page = await caller.ListTasks(task_service_pb2.ListTasksRequest(page_size=1))
    foreign = task_service_pb2.ListTasksRequest(
        filter="state = QUEUED", page_token=page.next_page_token
    )
    with refusal(INVALID, "INVALID_PAGE_TOKEN", "page_token"):
        await caller.ListTasks(foreign)


async def test_cancelling_is_final_and_idempotent(caller: TaskServiceStub) -> None:
    task = await create(caller)
    request = task_service_pb2.CancelTaskRequest(task_id=task.id)
    cancelled = await caller.CancelTask(request)
    assert cancelled.state == task_pb2.TASK_STATE_CANCELLED
    assert cancelled.HasField("end_time")
    assert await caller.CancelTask(request) == cancelled


async def test_while_the_registry_is_away_tasks_are_accepted(
    caller: TaskServiceStub, stores: Stores
) -> None:
    await stores.registry.close()
    await stores.task.ping()
    assert (await create(caller)).state == QUEUED
