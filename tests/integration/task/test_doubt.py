"""Commits whose answers are lost: what was done is not done again, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Value
from grpc import aio

from mesh.task.v1 import task_pb2, task_policy_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores, replica
from tests.integration.task.agents import alive, connected, done, failed, output, paused
from tests.integration.task.calls import (
    cancel,
    create,
    create_batch,
    creation,
    end_of,
    get,
    history,
    names,
    seconds,
    state_of,
)
from tests.integration.task.conftest import open_channel
from tests.integration.task.lost_answers import losing_answers

Lose = Callable[[], None]


@asynccontextmanager
async def losing(stores: Stores, tokens: TokenFactory) -> AsyncIterator[tuple[aio.Channel, Lose]]:
    """Run a replica whose next commit's answer can be lost; each that is asked for must be."""
    async with losing_answers(stores.task) as (proxy, database):
        asked = 0

        def lose() -> None:
            nonlocal asked
            assert proxy.lost == asked, "an earlier one was not lost"
            asked += 1
            proxy.to_lose = 1

        async with (
            replica(replace(stores, task=database), tokens) as running,
            open_channel(running, tokens, "acme") as channel,
        ):
            yield channel, lose
        assert proxy.lost == asked


async def test_a_task_that_was_handed_off_unheard_of_is_handed_off_again(
    stores: Stores, tokens: TokenFactory
) -> None:
    async with losing(stores, tokens) as (channel, lose), connected(channel, "text.count") as agent:
        caller = TaskServiceStub(channel)
        lose()
        task = await create(caller)
        [assignment] = await agent.take()
        assert (assignment.task.id, assignment.task.attempt) == (task.id, 1)
        assert assignment.lease.epoch == 2
        await agent.report(done(assignment.lease))
        assert names(await history(caller, task.id)) == [
            "CREATED",
            "STARTED",
            "RELEASED",
            "STARTED",
            "SUCCEEDED",
        ]


async def test_a_task_that_was_claimed_unheard_of_is_claimed_again(
    stores: Stores, tokens: TokenFactory
) -> None:
    async with losing(stores, tokens) as (channel, lose), connected(channel, "text.count") as agent:
        caller = TaskServiceStub(channel)
        await create(caller)
        waiting = await create(caller)
        [first] = await agent.take()
        lose()
        [receipt] = await agent.report(done(first.lease))
        assert receipt.accepted
        [second] = await agent.take()
        assert (second.task.id, second.task.attempt) == (waiting.id, 1)


async def test_creations_are_made_once(stores: Stores, tokens: TokenFactory) -> None:
    async with losing(stores, tokens) as (channel, lose), connected(channel, "text.other"):
        caller = TaskServiceStub(channel)
        named, unnamed = creation(capability="text.other", request_id="one"), creation()
        unnamed.task.capability = "text.other"
        lose()
        results = await create_batch(caller, named, unnamed, creation(priority=10))
        assert [bool(each.task_id) for each in results] == [True, True, False]
        assert (await create_batch(caller, named))[0].task_id == results[0].task_id
        for each in results[:2]:
            assert names([(await history_so_far(caller, each.task_id))[0]]) == ["CREATED"]


async def history_so_far(caller: TaskServiceStub, task_id: str) -> list[task_pb2.TaskEvent]:
    await cancel(caller, task_id, grace=0)
    return await history(caller, task_id)


async def test_reports_count_once(stores: Stores, tokens: TokenFactory) -> None:
    retry = task_policy_pb2.RetryPolicy(initial_backoff=seconds(0.001))
    async with losing(stores, tokens) as (channel, lose), connected(channel, "text.count") as agent:
        caller = TaskServiceStub(channel)
        task = await create(caller, retry_policy=retry)
        [first] = await agent.take()
        usage = task_policy_pb2.Usage(tokens=5)
        lose()
        receipts = await agent.report(
            output(first.lease, b"one"), alive(first.lease, "page 1", usage=usage)
        )
        assert all(receipt.accepted for receipt in receipts)
        lose()
        [receipt] = await agent.report(failed(first.lease, usage=usage))
        assert receipt.accepted
        [second] = await agent.take()
        assert second.task.attempt == 2
        lose()
        [receipt] = await agent.report(done(second.lease, usage=usage))
        assert receipt.accepted
        told = names(await history(caller, task.id))
        assert [told.count(each) for each in ("OUTPUT", "RETRYING", "SUCCEEDED")] == [1, 1, 1]
        assert (await get(caller, task.id)).usage.tokens == 15


@pytest.mark.parametrize("reject", [False, True])
async def test_what_callers_do_is_done_once(
    stores: Stores, tokens: TokenFactory, reject: bool
) -> None:
    async with losing(stores, tokens) as (channel, lose), connected(channel, "text.count") as agent:
        caller = TaskServiceStub(channel)
        task = await create(caller)
        [assignment] = await agent.take()
        lose()
        [receipt] = await agent.report(paused(assignment.lease))
        assert receipt.accepted
        changed = task_pb2.Task(id=task.id, priority=5, etag=(await get(caller, task.id)).etag)
        lose()
        updated = await caller.UpdateTask(
            task_service_pb2.UpdateTaskRequest(
                task=changed, update_mask=FieldMask(paths=["priority"])
            )
        )
        assert updated.priority == 5
        lose()
        answer = Value(string_value="this one")
        resumed = await caller.ResumeTask(
            task_service_pb2.ResumeTaskRequest(task_id=task.id, answer=answer, reject=reject)
        )
        if reject:
            assert (state_of(resumed), resumed.error.type) == ("FAILED", "ApprovalRejected")
            return
        [assignment] = await agent.take()
        assert assignment.answer == answer
        lose()
        await cancel(caller, task.id, grace=0)
        assert state_of(await end_of(caller, task.id)) == "CANCELLED"
