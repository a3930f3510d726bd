"""Calling tasks off: who is told, how long they have, and what counts in the end."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores, replica
from tests.integration.task.agents import (
    alive,
    connected,
    done,
    failed,
    paused,
    released,
    stopped,
)
from tests.integration.task.calls import (
    attempts,
    between,
    cancel,
    create,
    end_of,
    get,
    history,
    names,
    state_of,
)
from tests.integration.task.conftest import open_channel

CANCELLED, SUCCEEDED = task_pb2.TASK_STATE_CANCELLED, task_pb2.TASK_STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("report", "end"),
    [
        (stopped, "CANCELLED"),
        (released, "CANCELLED"),
        (failed, "CANCELLED"),
        (paused, "CANCELLED"),
        (done, "SUCCEEDED"),
    ],
)
async def test_the_end_that_comes_within_the_grace_counts(
    channel: aio.Channel, caller: TaskServiceStub, report: object, end: str
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        asked = await cancel(caller, task.id)
        assert (state_of(asked), asked.HasField("cancel_request_time")) == ("RUNNING", True)
        requests = await agent.next("cancel_requests")
        assert (list(requests.leases), requests.grace.seconds) == ([assignment.lease], 10)
        # It may go on reporting while it stops.
        receipts = await agent.report(alive(assignment.lease), report(assignment.lease))  # type: ignore[operator] # one of the functions above
        assert [receipt.accepted for receipt in receipts] == [True, True]
        ended = await get(caller, task.id)
        # Its slot is free again.
        other = await create(caller)
        [assignment] = await agent.take()
        assert assignment.task.id == other.id
    assert state_of(ended) == end
    assert not ended.HasField("cancel_request_time")
    assert names(await history(caller, task.id)) == [
        "CREATED",
        "STARTED",
        "CANCEL_REQUESTED",
        end,
    ]


async def test_when_the_grace_is_over_the_lease_is_taken(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        asked = await cancel(caller, task.id, grace=0.1)
        assert list((await agent.next("cancellations")).leases) == [assignment.lease]
        ended = await end_of(caller, task.id)
        [late] = await agent.report(stopped(assignment.lease))
        assert (late.accepted, late.reason) == (False, "LEASE_LOST")
    assert state_of(ended) == "CANCELLED"
    assert between(asked.cancel_request_time, ended.end_time) >= 0.09
    [attempt] = await attempts(caller, task.id)
    assert attempt.outcome == task_pb2.Attempt.OUTCOME_CANCELLED


async def test_an_agent_is_told_once_and_a_shorter_grace_holds(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        await cancel(caller, task.id, grace=3600)
        first = await agent.next("cancel_requests")
        again = await cancel(caller, task.id, grace=3600)
        shorter = await cancel(caller, task.id, grace=60)
        second = await agent.next("cancel_requests")
        assert (first.grace.seconds, second.grace.seconds) == (3600, 60)
        assert again.cancel_request_time == shorter.cancel_request_time
        assert state_of(await cancel(caller, task.id, grace=0)) == "CANCELLED"
        assert list((await agent.next("cancellations")).leases) == [assignment.lease]


async def test_an_agent_of_another_replica_is_asked_to_stop(
    stores: Stores, tokens: TokenFactory, caller: TaskServiceStub
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(elsewhere, "text.count") as agent,
    ):
        task = await create(caller)
        [assignment] = await agent.take()
        await cancel(caller, task.id)
        assert list((await agent.next("cancel_requests")).leases) == [assignment.lease]
        await agent.report(stopped(assignment.lease))
        assert state_of(await end_of(caller, task.id)) == "CANCELLED"


async def test_who_reconnects_is_told_what_to_stop(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
    await cancel(caller, task.id)
    async with connected(channel, "text.count", holding=[assignment.lease]) as agent:
        requests = await agent.next("cancel_requests")
        assert list(requests.leases) == [assignment.lease]
        assert 0 < requests.grace.ToNanoseconds() <= 10e9
        await agent.report(stopped(assignment.lease))
    assert state_of(await get(caller, task.id)) == "CANCELLED"


async def test_a_task_with_another_end_can_not_be_cancelled(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        with refusal(grpc.StatusCode.FAILED_PRECONDITION, "TASK_STATE_CONFLICT"):
            await cancel(caller, task.id)


async def test_a_task_that_nobody_was_asked_to_stop_and_is_stopped_goes_to_another(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [first] = await agent.take()
        await agent.report(stopped(first.lease))
        [second] = await agent.take()
        assert second.lease == dispatch.Lease(task_id=task.id, epoch=2)
        assert second.task.attempt == 1
