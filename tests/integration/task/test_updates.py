"""Changing tasks that have not ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import connected
from tests.integration.task.calls import (
    Event,
    cancel,
    create,
    end_of,
    get,
    later,
    seconds,
    state_of,
    until,
)

pytestmark = pytest.mark.usefixtures("known")
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def update(
    caller: TaskServiceStub, task_id: str, paths: Sequence[str] | None = None, **fields: Any
) -> task_pb2.Task:
    """Change the named fields of a task; those that are given if none are named."""
    masked = [name for name in fields if name != "etag"] if paths is None else paths
    request = task_service_pb2.UpdateTaskRequest(
        task=task_pb2.Task(id=task_id, **fields), update_mask=FieldMask(paths=masked)
    )
    return await caller.UpdateTask(request)


async def test_what_may_be_changed_is_changed_and_nothing_else(caller: TaskServiceStub) -> None:
    task = await create(caller, labels={"team": "red"}, priority=1)
    expire_time = later(3600)
    changed = await update(
        caller,
        task.id,
        ["priority", "labels", "max_attempts", "expire_time"],
        priority=5,
        labels={"team": "blue"},
        max_attempts=7,
        expire_time=expire_time,
        capability="text.other",
    )
    assert (changed.priority, dict(changed.labels)) == (5, {"team": "blue"})
    assert (changed.max_attempts, changed.expire_time) == (7, expire_time)
    assert changed.capability == "text.count"
    attributes = task_pb2.Task()
    attributes.attributes.update({"amount": 3, "paid": True})
    changed = await update(caller, task.id, attributes=attributes.attributes)
    assert changed.attributes == attributes.attributes
    changed = await update(caller, task.id, ["expire_time", "labels"])
    assert not changed.HasField("expire_time")
    assert dict(changed.labels) == {}
    assert await get(caller, task.id) == changed


async def test_an_update_of_a_task_that_has_changed_is_refused(caller: TaskServiceStub) -> None:
    task = await create(caller)
    changed = await update(caller, task.id, priority=2, etag=task.etag)
    assert changed.etag != task.etag
    with refusal(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", "task.etag"):
        await update(caller, task.id, priority=3, etag=task.etag)
    assert (await update(caller, task.id, priority=4, etag=changed.etag)).priority == 4


@pytest.mark.parametrize(
    ("paths", "fields", "blamed"),
    [
        (["state"], {}, "update_mask"),
        (["capability"], {"capability": "text.other"}, "update_mask"),
        (["max_attempts"], {}, "task.max_attempts"),
        (["schedule_time"], {}, "task.schedule_time"),
        (["priority"], {"priority": 10}, "task.priority"),
    ],
)
async def test_what_can_not_be_changed_is_named(
    caller: TaskServiceStub, paths: list[str], fields: dict[str, Any], blamed: str
) -> None:
    task = await create(caller)
    with refusal(INVALID, "INVALID_ARGUMENT", blamed):
        await update(caller, task.id, paths, **fields)
    assert await get(caller, task.id) == task


async def test_a_task_that_has_ended_can_not_be_changed(
    caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    task = await create(caller)
    with refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", "task_id"):
        await update(stranger, task.id, priority=1)
    await cancel(caller, task.id)
    with refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_STATE_CONFLICT"):
        await update(caller, task.id, priority=1)


async def test_a_higher_priority_overtakes(channel: aio.Channel, caller: TaskServiceStub) -> None:
    first, second, third = [await create(caller) for _ in range(3)]
    await update(caller, third.id, priority=9)
    await update(caller, first.id, priority=0)
    async with connected(channel, "text.count", slots=3) as agent:
        order = [each.task.id for each in await agent.take(3)]
    assert order == [third.id, first.id, second.id]


async def test_a_start_is_moved_both_ways(channel: aio.Channel, caller: TaskServiceStub) -> None:
    queued = await create(caller)
    waiting = await update(caller, queued.id, schedule_time=later(3600))
    assert state_of(waiting) == "SCHEDULED"
    async with connected(channel, "text.count") as agent:
        await update(caller, queued.id, schedule_time=later(0.1))
        [assignment] = await agent.take()
        assert assignment.task.id == queued.id
        with refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_STATE_CONFLICT"):
            await update(caller, queued.id, schedule_time=later(1))
        delayed = await create(caller, delay=seconds(3600))
        await update(caller, delayed.id, schedule_time=later(-1))
        await until(caller, delayed.id, Event.TYPE_QUEUED)


async def test_a_new_expiry_holds(caller: TaskServiceStub) -> None:
    task = await create(caller)
    await update(caller, task.id, expire_time=later(0.1))
    assert (await end_of(caller, task.id)).error.type == "Expired"


async def test_watchers_see_what_was_changed(caller: TaskServiceStub) -> None:
    task = await create(caller, labels={"team": "red"})
    live = asyncio.create_task(until(caller, task.id, Event.TYPE_UPDATED))
    await update(caller, task.id, labels={"team": "blue"})
    for event in (await live, await until(caller, task.id, Event.TYPE_UPDATED)):
        assert dict(event.task.labels) == {"team": "blue"}
