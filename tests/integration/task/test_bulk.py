"""Bulk operations: one thing done to many tasks, across restarts and replicas."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import bulk_service_pb2, task_service_pb2
from mesh.task.v1.bulk_service_pb2_grpc import BulkServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from services.task.settings import BulkSettings
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import connected, failed, register
from tests.integration.task.calls import (
    cancel,
    create,
    create_batch,
    creation,
    end_of,
    get,
    later,
    state_of,
)
from tests.integration.task.conftest import open_channel
from tests.integration.task.test_counts import counted
from tests.integration.task.test_listing import listed
from tests.waiting import until_true

Operation = bulk_service_pb2.BulkOperation
SLOWLY = BulkSettings(step=5, pause=0.05, look_interval=0.05, lease=0.5)


@pytest.fixture(autouse=True)
async def known(channel: aio.Channel) -> None:
    """Have one agent know the capabilities that these tests ask for."""
    await register(channel, "known", ["text.count", "text.other"])


@pytest.fixture
def bulk(channel: aio.Channel) -> BulkServiceStub:
    return BulkServiceStub(channel)


async def start(
    bulk: BulkServiceStub,
    action: Operation.Action.ValueType,
    filter_: str = "",
    *,
    request_id: str = "",
) -> Operation:
    request = bulk_service_pb2.StartBulkOperationRequest(
        operation=Operation(action=action, filter=filter_), request_id=request_id
    )
    return await bulk.StartBulkOperation(request)


async def look(bulk: BulkServiceStub, operation_id: str) -> Operation:
    request = bulk_service_pb2.GetBulkOperationRequest(bulk_operation_id=operation_id)
    return await bulk.GetBulkOperation(request)


async def end(bulk: BulkServiceStub, operation_id: str) -> Operation:
    """Wait until an operation is no longer running."""

    async def has_ended() -> bool:
        return (await look(bulk, operation_id)).state != Operation.STATE_RUNNING

    await until_true(has_ended)
    return await look(bulk, operation_id)


async def create_many(caller: TaskServiceStub, count: int, **fields: Any) -> list[str]:
    results = await create_batch(caller, *(creation(**fields) for _ in range(count)))
    return [result.task_id for result in results]


async def test_tasks_that_match_are_cancelled_and_no_others(
    caller: TaskServiceStub, bulk: BulkServiceStub
) -> None:
    await create_many(caller, 450, labels={"team": "red"})
    await create_many(caller, 3, labels={"team": "blue"})
    started = await start(bulk, Operation.ACTION_CANCEL, "labels.team = red")
    assert started.total == 450
    assert started.creator == "key:tester"
    later_one = await create(caller, labels={"team": "red"})
    ended = await end(bulk, started.id)
    assert (ended.state, ended.done, ended.refused) == (Operation.STATE_DONE, 450, 0)
    assert ended.HasField("end_time")
    assert await counted(caller) == {"CANCELLED": 450, "QUEUED": 4}
    assert state_of(await get(caller, later_one.id)) == "QUEUED"


async def test_failed_tasks_run_again_as_copies_and_waiting_ones_at_once(
    channel: aio.Channel, caller: TaskServiceStub, bulk: BulkServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        dead = await create(caller, max_attempts=1)
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease, retryable=True))
        await end_of(caller, dead.id)
        gone = await create(caller)
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease, retryable=False))
        await end_of(caller, gone.id)
    cancelled = (await create(caller)).id
    await cancel(caller, cancelled)
    untried = await create(caller, schedule_time=later(3600))
    started = await start(bulk, Operation.ACTION_RETRY)
    assert started.total == 2
    ended = await end(bulk, started.id)
    assert (ended.done, ended.refused) == (2, 0)
    for task_id in (dead.id, gone.id):
        assert len(await listed(caller, f"replay_of = {task_id} AND state = QUEUED")) == 1
    assert state_of(await get(caller, untried.id)) == "SCHEDULED"
    assert await listed(caller, f"replay_of = {cancelled}") == []


async def test_whatever_has_ended_is_replayed_once(
    caller: TaskServiceStub, bulk: BulkServiceStub
) -> None:
    ids = await create_many(caller, 120)
    cancels = await start(bulk, Operation.ACTION_CANCEL)
    await end(bulk, cancels.id)
    replay = await start(bulk, Operation.ACTION_REPLAY, "state = CANCELLED", request_id="once")
    assert (await start(
        bulk, Operation.ACTION_REPLAY, "state = CANCELLED", request_id="once"
    )).id == replay.id  # fmt: skip
    with refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "request_id"):
        await start(bulk, Operation.ACTION_REPLAY, "", request_id="once")
    ended = await end(bulk, replay.id)
    assert (ended.total, ended.done) == (120, 120)
    assert await counted(caller) == {"CANCELLED": 120, "QUEUED": 120}
    page = task_service_pb2.ListTasksRequest(filter="state = QUEUED", page_size=1000)
    assert sorted(task.replay_of for task in (await caller.ListTasks(page)).tasks) == sorted(ids)


async def test_another_replica_goes_on_where_one_has_stopped(
    stores: Stores, tokens: TokenFactory, caller: TaskServiceStub, bulk: BulkServiceStub
) -> None:
    await create_many(caller, 60)
    for action in (Operation.ACTION_CANCEL, Operation.ACTION_REPLAY):
        started = await _begun_elsewhere(stores, tokens, action)
        async with replica(stores, tokens, bulk_settings=SLOWLY):
            ended = await end(bulk, started.id)
        assert (ended.state, ended.done, ended.refused) == (Operation.STATE_DONE, 60, 0)
    assert await counted(caller) == {"CANCELLED": 60, "QUEUED": 60}


async def _begun_elsewhere(
    stores: Stores, tokens: TokenFactory, action: Operation.Action.ValueType
) -> Operation:
    """Start an operation on a replica that is cut off in the midst of it."""
    async with (
        replica(stores, tokens, bulk_settings=SLOWLY) as first,
        open_channel(first, tokens, "acme") as channel,
    ):
        bulk = BulkServiceStub(channel)
        started = await start(bulk, action)

        async def has_begun() -> bool:
            return (await look(bulk, started.id)).done > 0

        await until_true(has_begun)
        return started


async def test_an_operation_is_stopped(
    stores: Stores, tokens: TokenFactory, caller: TaskServiceStub
) -> None:
    await create_many(caller, 100)
    slowest = BulkSettings(step=1, pause=0.1, look_interval=0.05)
    async with (
        replica(stores, tokens, bulk_settings=slowest) as second,
        open_channel(second, tokens, "acme") as channel,
    ):
        bulk = BulkServiceStub(channel)
        started = await start(bulk, Operation.ACTION_CANCEL)
        request = bulk_service_pb2.StopBulkOperationRequest(bulk_operation_id=started.id)
        stopped = await bulk.StopBulkOperation(request)
        assert stopped.state == Operation.STATE_STOPPED
        again = await bulk.StopBulkOperation(request)
        assert again.state == Operation.STATE_STOPPED
        assert (await counted(caller))["QUEUED"] > 0


async def test_operations_are_listed_the_newest_first_to_their_tenant(
    bulk: BulkServiceStub, small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    started = [(await start(bulk, Operation.ACTION_CANCEL, "priority = 9")).id for _ in range(3)]
    first = await bulk.ListBulkOperations(bulk_service_pb2.ListBulkOperationsRequest(page_size=2))
    rest = await bulk.ListBulkOperations(
        bulk_service_pb2.ListBulkOperationsRequest(page_size=2, page_token=first.next_page_token)
    )
    found = [each.id for each in (*first.operations, *rest.operations)]
    assert found == sorted(started, reverse=True)
    assert not rest.next_page_token
    async with open_channel(small_mesh, tokens, "umbrella") as channel:
        foreign = BulkServiceStub(channel)
        request = bulk_service_pb2.ListBulkOperationsRequest()
        assert list((await foreign.ListBulkOperations(request)).operations) == []
        with refusal(grpc.StatusCode.NOT_FOUND, "BULK_OPERATION_NOT_FOUND", "bulk_operation_id"):
            await look(foreign, started[0])


async def test_what_makes_no_sense_is_refused(bulk: BulkServiceStub) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with refusal(invalid, "INVALID_FILTER", "filter"):
        await start(bulk, Operation.ACTION_CANCEL, "color = red")
    with refusal(invalid, "INVALID_ARGUMENT", "operation.action"):
        await start(bulk, Operation.ACTION_UNSPECIFIED)


async def test_two_replicas_share_the_work_without_doing_it_twice(
    stores: Stores, tokens: TokenFactory, caller: TaskServiceStub, bulk: BulkServiceStub
) -> None:
    await create_many(caller, 40)
    await end(bulk, (await start(bulk, Operation.ACTION_CANCEL)).id)
    async with replica(stores, tokens, bulk_settings=SLOWLY):
        started = await asyncio.gather(
            *(start(bulk, Operation.ACTION_REPLAY, "state = CANCELLED") for _ in range(4))
        )
        for operation in started:
            assert (await end(bulk, operation.id)).done == 40
    assert await counted(caller) == {"CANCELLED": 40, "QUEUED": 160}
