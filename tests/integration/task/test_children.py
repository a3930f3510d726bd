"""Tasks under tasks: they are called off together, and share a budget."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2, task_policy_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import HandAgent, alive, connected, done, failed, stopped
from tests.integration.task.calls import (
    cancel,
    create,
    end_of,
    get,
    later,
    retry,
    seconds,
    state_of,
)

INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
CONFLICT = grpc.StatusCode.FAILED_PRECONDITION
Usage = task_policy_pb2.Usage


async def taken(agent: HandAgent, *tasks: task_pb2.Task) -> list[dispatch.Lease]:
    """Take these tasks and return their leases, in their order."""
    leases = {each.task.id: each.lease for each in await agent.take(len(tasks))}
    return [leases[task.id] for task in tasks]


async def family(caller: TaskServiceStub, depth: int) -> list[task_pb2.Task]:
    """Create a task, one under it, and so on."""
    tasks = [await create(caller)]
    for _ in range(depth):
        tasks.append(await create(caller, parent_id=tasks[-1].id))
    return tasks


@pytest.mark.usefixtures("known")
async def test_a_child_knows_its_root_and_its_depth(caller: TaskServiceStub) -> None:
    root, child, grandchild = await family(caller, 2)
    assert (root.root_id, root.depth, root.parent_id) == (root.id, 0, "")
    assert (child.root_id, child.depth, child.parent_id) == (root.id, 1, root.id)
    assert (grandchild.root_id, grandchild.depth) == (root.id, 2)


@pytest.mark.usefixtures("known")
async def test_only_an_unfinished_task_can_be_a_parent(
    caller: TaskServiceStub, channel: aio.Channel
) -> None:
    root = await create(caller)
    with refusal(INVALID, "RELATED_TASK_NOT_FOUND", "task.parent_id"):
        await create(caller, parent_id=str(uuid.uuid4()))
    await cancel(caller, root.id)
    with refusal(CONFLICT, "TASK_STATE_CONFLICT"):
        await create(caller, parent_id=root.id)
    async with connected(channel, "text.count") as agent:
        running = await create(caller)
        await taken(agent, running)
        await cancel(caller, running.id)
        with refusal(CONFLICT, "TASK_STATE_CONFLICT"):
            await create(caller, parent_id=running.id)


async def test_a_cancelled_parent_takes_all_under_it_along(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        root, running, queued = await family(caller, 2)
        later_one = await create(caller, parent_id=queued.id, delay=seconds(3600))
        root_lease, lease = await taken(agent, root, running)
        await cancel(caller, root.id, grace=60)
        asked: list[dispatch.Lease] = []
        while len(asked) < 2:
            requests = await agent.next("cancel_requests")
            assert requests.grace.seconds == 60
            asked += requests.leases
        assert sorted(each.task_id for each in asked) == sorted([root.id, running.id])
        for task in (queued, later_one):
            assert state_of(await get(caller, task.id)) == "CANCELLED"
        await agent.report(stopped(lease), stopped(root_lease))
        for task in (root, running):
            assert state_of(await get(caller, task.id)) == "CANCELLED"


@pytest.mark.usefixtures("known")
async def test_without_grace_all_of_them_stop_at_once(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    # The root does not run, so that it ends at once; what runs under it has no grace either.
    root = await create(caller, delay=seconds(3600))
    async with connected(channel, "text.count") as agent:
        child = await create(caller, parent_id=root.id)
        [lease] = await taken(agent, child)
        await cancel(caller, root.id, grace=0)
        assert list((await agent.next("cancellations")).leases) == [lease]
        assert state_of(await get(caller, child.id)) == "CANCELLED"


async def test_below_a_task_that_has_succeeded_there_may_be_some_to_cancel(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        root, middle, lowest = await family(caller, 2)
        _, lease = await taken(agent, root, middle)
        await agent.report(done(lease))
        await taken(agent, lowest)
        assert state_of(await get(caller, lowest.id)) == "RUNNING"
        await cancel(caller, root.id, grace=0)
        assert state_of(await get(caller, lowest.id)) == "CANCELLED"


@pytest.mark.parametrize(
    ("retryable", "attempts", "child_ends"), [(False, 3, True), (True, 1, True), (True, 2, False)]
)
async def test_a_parent_that_is_given_up_takes_its_children_along(
    channel: aio.Channel,
    caller: TaskServiceStub,
    retryable: bool,
    attempts: int,
    child_ends: bool,
) -> None:
    async with connected(channel, "text.count") as agent:
        parent = await create(caller, max_attempts=attempts)
        child = await create(caller, parent_id=parent.id)
        [lease] = await taken(agent, parent)
        await agent.report(failed(lease, retryable=retryable))
        state = state_of(await get(caller, child.id))
    assert (state == "CANCELLED") is child_ends


async def test_a_parent_that_succeeds_leaves_its_children(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        parent = await create(caller)
        child = await create(caller, parent_id=parent.id)
        [lease] = await taken(agent, parent)
        await agent.report(done(lease))
        [lease] = await taken(agent, child)
        await agent.report(done(lease))
        assert state_of(await get(caller, child.id)) == "SUCCEEDED"


@pytest.mark.usefixtures("known")
async def test_a_child_made_while_its_parent_is_cancelled_is_cancelled_or_refused(
    caller: TaskServiceStub,
) -> None:
    for _ in range(10):
        parent = await create(caller)
        outcomes = await asyncio.gather(
            *[create(caller, parent_id=parent.id) for _ in range(4)],
            cancel(caller, parent.id),
            *[create(caller, parent_id=parent.id) for _ in range(4)],
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, aio.AioRpcError):
                assert outcome.code() == CONFLICT
            else:
                assert isinstance(outcome, task_pb2.Task)
                assert state_of(await get(caller, outcome.id)) == "CANCELLED"


def budget(**bounds: Any) -> task_policy_pb2.Budget:
    return task_policy_pb2.Budget(**bounds)


@pytest.mark.usefixtures("known")
async def test_a_budget_bounds_depth_and_number(caller: TaskServiceStub) -> None:
    root = await create(caller, budget=budget(max_depth=1, max_tasks=3))
    child = await create(caller, parent_id=root.id)
    with refusal(EXHAUSTED, "BUDGET_EXCEEDED", "task.parent_id"):
        await create(caller, parent_id=child.id)
    await create(caller, parent_id=root.id)
    with refusal(EXHAUSTED, "BUDGET_EXCEEDED", "task.parent_id"):
        await create(caller, parent_id=root.id)
    assert (await get(caller, root.id)).budget == budget(max_depth=1, max_tasks=3)
    with refusal(INVALID, "INVALID_ARGUMENT", "task.budget"):
        await create(caller, parent_id=root.id, budget=budget(max_tasks=1))


@pytest.mark.parametrize(
    ("bounds", "usage"),
    [({"max_tokens": 100}, {"tokens": 60}), ({"max_cost": 1.0}, {"cost": 0.6})],
)
async def test_a_task_that_uses_more_than_the_budget_fails(
    channel: aio.Channel,
    caller: TaskServiceStub,
    bounds: dict[str, Any],
    usage: dict[str, Any],
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        root = await create(caller, budget=budget(**bounds))
        child = await create(caller, parent_id=root.id)
        root_lease, lease = await taken(agent, root, child)
        await agent.report(alive(root_lease, usage=Usage(**usage)))
        # What comes with it comes too late.
        usage_told, result = await agent.report(alive(lease, usage=Usage(**usage)), done(lease))
        assert (usage_told.accepted, result.accepted) == (True, False)
        ended = await get(caller, child.id)
        assert (state_of(ended), ended.error.type) == ("FAILED", "BudgetExceeded")
        assert next(iter(bounds)) in ended.error.message
        assert ended.usage == Usage(**usage)
        [late] = await agent.report(done(lease))
        assert (late.accepted, late.reason) == (False, "LEASE_LOST")
        with refusal(EXHAUSTED, "BUDGET_EXCEEDED", "task.parent_id"):
            await create(caller, parent_id=root.id)
        # The root runs on until it reports something.
        assert state_of(await get(caller, root.id)) == "RUNNING"


async def test_usage_counts_over_attempts_and_however_they_end(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    retry_policy = task_policy_pb2.RetryPolicy(initial_backoff=seconds(3600))
    async with connected(channel, "text.count") as agent:
        task = await create(caller, budget=budget(max_tokens=99), retry_policy=retry_policy)
        [lease] = await taken(agent, task)
        await agent.report(alive(lease, usage=Usage(tokens=10, cost=0.5)))
        await agent.report(failed(lease, usage=Usage(tokens=20)))
        waiting = await retry(caller, task.id)
        assert waiting.usage == Usage(tokens=30, cost=0.5)
        [lease] = await taken(agent, task)
        # What is done is done, whatever it used.
        await agent.report(done(lease, usage=Usage(tokens=70)))
        ended = await get(caller, task.id)
    assert (state_of(ended), ended.usage.tokens) == ("SUCCEEDED", 100)


async def test_a_failure_that_uses_up_the_budget_is_the_last(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        for policy in (seconds(0), seconds(3600)):
            retry_policy = task_policy_pb2.RetryPolicy(initial_backoff=policy)
            task = await create(caller, budget=budget(max_tokens=5), retry_policy=retry_policy)
            [lease] = await taken(agent, task)
            await agent.report(failed(lease, usage=Usage(tokens=6)))
            ended = await end_of(caller, task.id)
            assert (state_of(ended), ended.error.type) == ("FAILED", "BudgetExceeded")
        # Its slot is free, and nothing was assigned in vain.
        task = await create(caller, expire_time=later(60))
        await taken(agent, task)
