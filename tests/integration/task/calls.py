"""What callers do in tests: create tasks, look at them, wait for what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub

_PATIENCE = 30.0

Event = task_pb2.TaskEvent


async def create(caller: TaskServiceStub, *, request_id: str = "", **fields: Any) -> task_pb2.Task:
    """Create a task; of `text.count` unless said otherwise."""
    return await caller.CreateTask(creation(request_id=request_id, **fields))


def creation(*, request_id: str = "", **fields: Any) -> task_service_pb2.CreateTaskRequest:
    """Return the request that creates a task."""
    task = task_pb2.Task(**{"capability": "text.count", **fields})
    return task_service_pb2.CreateTaskRequest(task=task, request_id=request_id)


async def create_batch(
    caller: TaskServiceStub, *requests: task_service_pb2.CreateTaskRequest
) -> Sequence[task_service_pb2.CreateTaskResult]:
    """Create tasks in one call."""
    request = task_service_pb2.BatchCreateTasksRequest(requests=requests)
    return list((await caller.BatchCreateTasks(request)).results)


async def get(caller: TaskServiceStub, task_id: str) -> task_pb2.Task:
    """Get a task."""
    return await caller.GetTask(task_service_pb2.GetTaskRequest(task_id=task_id))


async def cancel(
    caller: TaskServiceStub, task_id: str, grace: float | None = None
) -> task_pb2.Task:
    """Cancel a task; its agent has `grace` seconds, the mesh's default for None."""
    within = None if grace is None else seconds(grace)
    return await caller.CancelTask(
        task_service_pb2.CancelTaskRequest(task_id=task_id, grace=within)
    )


async def retry(caller: TaskServiceStub, task_id: str, request_id: str = "") -> task_pb2.Task:
    """Run a task again."""
    request = task_service_pb2.RetryTaskRequest(task_id=task_id, request_id=request_id)
    return await caller.RetryTask(request)


async def attempts(caller: TaskServiceStub, task_id: str) -> Sequence[task_pb2.Attempt]:
    """List the attempts of a task."""
    request = task_service_pb2.ListAttemptsRequest(task_id=task_id)
    return list((await caller.ListAttempts(request)).attempts)


async def until(
    caller: TaskServiceStub, task_id: str, wanted: Event.Type.ValueType, *, after: int = 0
) -> Event:
    """Watch a task until an event of the wanted type, after a sequence."""
    request = task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
    async with asyncio.timeout(_PATIENCE):
        async for event in caller.WatchTask(request):
            if event.type == wanted:
                return event
    raise AssertionError("the task ended before")


async def history(caller: TaskServiceStub, task_id: str) -> list[Event]:
    """Watch a task to its end and return all events."""
    request = task_service_pb2.WatchTaskRequest(task_id=task_id)
    async with asyncio.timeout(_PATIENCE):
        return [event async for event in caller.WatchTask(request)]


async def end_of(caller: TaskServiceStub, task_id: str) -> task_pb2.Task:
    """Wait for the end of a task and return it."""
    await history(caller, task_id)
    return await get(caller, task_id)


def names(events: Iterable[Event]) -> list[str]:
    """Return the types of events by their short names."""
    return [Event.Type.Name(event.type).removeprefix("TYPE_") for event in events]


def state_of(task: task_pb2.Task) -> str:
    """Return the state of a task by its short name."""
    return task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_")


def waits_for(task: task_pb2.Task) -> str:
    """Return what a task waits for by its short name."""
    return task_pb2.WaitReason.Name(task.wait_reason).removeprefix("WAIT_REASON_")


def seconds(value: float) -> Duration:
    """Encode a duration."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


def later(value: float) -> Timestamp:
    """Return the time so many seconds from now."""
    time = Timestamp()
    time.GetCurrentTime()
    time.FromNanoseconds(time.ToNanoseconds() + round(value * 1e9))
    return time


def between(start: Timestamp, stop: Timestamp) -> float:
    """Return the seconds from one time to another."""
    return (stop.ToNanoseconds() - start.ToNanoseconds()) / 1e9
