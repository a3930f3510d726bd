"""The bounds of what callers ask for: what is beyond them is refused, alone, by its field."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct, Value
from grpc import aio

from mesh.task.v1 import payload_pb2, task_pb2, task_service_pb2
from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import connected, paused
from tests.integration.task.calls import create, create_batch, creation, get, seconds, state_of
from tests.integration.task.test_requests import reason_of

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
UNKNOWN: Any = 99
NAN, INFINITY = float("nan"), float("inf")
LAST = int(datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def attributes(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def depends(condition: Any) -> policy.Dependency:
    return policy.Dependency(task_id=str(uuid.uuid4()), condition=condition)


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"labels": {str(n): "" for n in range(65)}}, "task.labels"),
    ({"labels": {"k" * 129: ""}}, f'task.labels["{"k" * 115}…'),
    ({"labels": {"k": "v" * 129}}, 'task.labels["k"]'),
    ({"attributes": attributes({str(n): n for n in range(33)})}, "task.attributes"),
    ({"attributes": attributes({"k" * 129: 1})}, "task.attributes"),
    ({"attributes": attributes({"": 1})}, "task.attributes"),
    ({"attributes": attributes({"k": "v" * 1025})}, "task.attributes"),
    ({"attributes": attributes({"k": ["v"]})}, "task.attributes.k"),
    ({"attributes": attributes({"k": NAN})}, "task.attributes.k"),
    ({"input": attributes({"k": [{"k": NAN}]})}, "task.input"),
    ({"input": attributes({"k": {"k": -INFINITY}})}, "task.input"),
    ({"capability": "a" * 129}, "task.capability"),
    ({"max_attempts": 101}, "task.max_attempts"),
    ({"delay": seconds(31536001)}, "task.delay"),
    ({"delay": {"seconds": 315_576_000_000}}, "task.delay"),
    ({"schedule_time": {"seconds": 2**60}}, "task.schedule_time"),
    ({"schedule_time": {"seconds": LAST + 1}}, "task.schedule_time"),
    ({"expire_time": {"seconds": -(2**60)}}, "task.expire_time"),
    ({"expire_time": {"seconds": -1}}, "task.expire_time"),
    ({"fairness": policy.Fairness(key="k" * 129)}, "task.fairness.key"),
    *(
        ({"fairness": policy.Fairness(key="k", weight=weight)}, "task.fairness.weight")
        for weight in (NAN, INFINITY, -INFINITY, -1, 1e-9, 1001)
    ),
    (
        {"concurrency_limits": [policy.ConcurrencyLimit(key="k" * 129, limit=1)]},
        "task.concurrency_limits[0].key",
    ),
    (
        {"concurrency_limits": [policy.ConcurrencyLimit(key="k", limit=1, strategy=UNKNOWN)]},
        "task.concurrency_limits[0].strategy",
    ),
    (
        {"dependencies": policy.Dependencies(tasks=[depends(UNKNOWN)])},
        "task.dependencies.tasks[0].condition",
    ),
    ({"dependencies": policy.Dependencies(mode=UNKNOWN)}, "task.dependencies.mode"),
    ({"rate_limits": [policy.RateLimit(key="k", limit=0)]}, "task.rate_limits[0].limit"),
    ({"rate_limits": [policy.RateLimit(key="k", limit=9, units=-1)]}, "task.rate_limits[0].units"),
    (
        {"rate_limits": [policy.RateLimit(key="k", limit=1, period=Duration(seconds=2**40))]},
        "task.rate_limits[0].period",
    ),
    ({"budget": policy.Budget(max_cost=INFINITY)}, "task.budget.max_cost"),
    ({"budget": policy.Budget(max_cost=NAN)}, "task.budget.max_cost"),
    ({"budget": policy.Budget(max_tasks=-1)}, "task.budget.max_tasks"),
    ({"retry_policy": policy.RetryPolicy(multiplier=NAN)}, "task.retry_policy.multiplier"),
    ({"deadlines": policy.Deadlines(total=Duration(seconds=2**40))}, "task.deadlines.total"),
    ({"placement": policy.Placement(version="v" * 129)}, "task.placement.version"),
    ({"request_id": "r" * 129}, "request_id"),
    (
        {"input_payload": payload_pb2.Payload(content_type="c" * 129, data=b"")},
        "task.input_payload.content_type",
    ),
]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("one_of_many", [False, True], ids=["alone", "one of many"])
async def test_what_is_beyond_a_bound_is_refused_by_its_field(
    caller: TaskServiceStub, one_of_many: bool
) -> None:
    if one_of_many:
        first, *refused, last = await create_batch(
            caller, creation(), *(creation(**fields) for fields, _ in BEYOND), creation()
        )
        assert first.task_id
        assert last.task_id
        told = [reason_of(each) for each in refused]
        assert told == [("INVALID_ARGUMENT", [field]) for _, field in BEYOND]
        return
    for fields, field in BEYOND:
        with refusal(*INVALID, field):
            await create(caller, **fields)


@pytest.mark.usefixtures("known")
async def test_what_is_within_all_bounds_is_kept(caller: TaskServiceStub) -> None:
    labels = {f"{n:0>128}": "ü" * 128 for n in range(64)}
    given = attributes({f"{n:0>128}": "ü" * 1024 for n in range(32)})
    task = await create(
        caller,
        labels=labels,
        attributes=given,
        fairness=policy.Fairness(key="k" * 128, weight=0.001),
        budget=policy.Budget(max_cost=1e15, max_tokens=2**63 - 1, max_tasks=2**63 - 1),
        schedule_time={"seconds": LAST, "nanos": 999999999},
        expire_time={"seconds": LAST, "nanos": 999999999},
        deadlines=policy.Deadlines(queue=seconds(31536000), total=seconds(31536000)),
    )
    kept = await get(caller, task.id)
    assert (dict(kept.labels), kept.attributes, state_of(kept)) == (labels, given, "SCHEDULED")


NUL = "a\0b"
WITH_NUL: list[tuple[dict[str, Any], str]] = [
    ({"labels": {NUL: "v"}}, "task.labels"),
    ({"labels": {"k": NUL}}, "task.labels"),
    ({"attributes": attributes({NUL: 1})}, f"task.attributes.{NUL}"),
    ({"attributes": attributes({"k": NUL})}, "task.attributes.k"),
    ({"fairness": policy.Fairness(key=NUL)}, "task.fairness.key"),
    (
        {"concurrency_limits": [policy.ConcurrencyLimit(key=NUL, limit=1)]},
        "task.concurrency_limits[0].key",
    ),
    ({"rate_limits": [policy.RateLimit(key=NUL, limit=1)]}, "task.rate_limits[0].key"),
    ({"placement": policy.Placement(build_id=NUL)}, "task.placement.build_id"),
    ({"placement": policy.Placement(required_labels={"k": NUL})}, "task.placement.required_labels"),
    (
        {"retry_policy": policy.RetryPolicy(non_retryable_types=["a", NUL])},
        "task.retry_policy.non_retryable_types[1]",
    ),
    (
        {"input_payload": payload_pb2.Payload(content_type=NUL, data=b"\0")},
        "task.input_payload.content_type",
    ),
    ({"request_id": NUL}, "request_id"),
]


async def streamed(
    caller: TaskServiceStub, *requests: task_service_pb2.CreateTaskRequest
) -> list[task_service_pb2.CreateTaskResult]:
    async def one() -> AsyncIterator[task_service_pb2.StreamCreateTasksRequest]:
        yield task_service_pb2.StreamCreateTasksRequest(requests=requests)

    return [result async for answer in caller.StreamCreateTasks(one()) for result in answer.results]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("send", [create_batch, streamed], ids=["batch", "stream"])
async def test_nul_in_one_task_of_many_refuses_that_one(caller: TaskServiceStub, send: Any) -> None:
    # Input is kept as it came.
    # Nor does a text make a number, whatever bytes it has.
    kept = {NUL: NUL, "k": "\x11123456\u07ff\x7f", "n": 1.7976931348623157e308}
    good = creation(input=attributes(kept), input_payload={"data": b"\0"})
    requests = [good, *(creation(**fields) for fields, _ in WITH_NUL), good]
    first, *refused, last = await send(caller, *requests)
    told = [reason_of(each) for each in refused]
    assert told == [("INVALID_ARGUMENT", [field]) for _, field in WITH_NUL]
    for each in (first, last):
        assert (await get(caller, each.task_id)).input == good.task.input


@pytest.mark.usefixtures("known")
async def test_a_blob_that_is_not_there_refuses_one_task_of_many(caller: TaskServiceStub) -> None:
    payload = payload_pb2.Payload(blob_id=str(uuid.uuid4()))
    results = await create_batch(caller, creation(), creation(input_payload=payload), creation())
    assert [bool(each.task_id) for each in results] == [True, False, True]
    assert reason_of(results[1]) == ("BLOB_NOT_FOUND", ["blob_id"])


async def test_changes_and_answers_have_bounds_too(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        await agent.report(paused(assignment.lease))
        large = Value(string_value="x" * (256 << 10))
        with refusal(*INVALID, "answer"):
            await caller.ResumeTask(
                task_service_pb2.ResumeTaskRequest(task_id=task.id, answer=large)
            )
        changed = task_pb2.Task(id=task.id, attributes=attributes({"k": NUL}))
        with refusal(*INVALID, "task.attributes.k"):
            await caller.UpdateTask(
                task_service_pb2.UpdateTaskRequest(
                    task=changed, update_mask=FieldMask(paths=["attributes"])
                )
            )
        with refusal(*INVALID, "update_mask"):
            await caller.UpdateTask(
                task_service_pb2.UpdateTaskRequest(
                    task=changed, update_mask=FieldMask(paths=["priority"] * 17)
                )
            )
        assert state_of(await get(caller, task.id)) == "PAUSED"
