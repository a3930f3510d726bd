"""Counts of tasks by state."""

from __future__ import annotations

import grpc
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.replicas import Stores
from tests.integration.task.agents import connected, done
from tests.integration.task.calls import cancel, create, end_of


async def counted(caller: TaskServiceStub, filter_: str = "") -> dict[str, int]:
    """Exact counts, by the short names of the states."""
    response = await caller.CountTasks(task_service_pb2.CountTasksRequest(filter=filter_))
    assert not any(each.at_least for each in response.counts)
    return {
        task_pb2.TaskState.Name(each.state).removeprefix("TASK_STATE_"): each.count
        for each in response.counts
    }


async def test_counts_are_by_state_and_filtered(
    channel: aio.Channel, caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", "text.other") as agent:
        first = await create(caller, labels={"team": "red"})
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        await end_of(caller, first.id)
        await create(caller, labels={"team": "red"})
        await agent.take()
        waiting = [await create(caller, capability="text.other", priority=5) for _ in range(3)]
        await cancel(caller, waiting[0].id)
        expected = {
            "": {"SUCCEEDED": 1, "RUNNING": 1, "QUEUED": 2, "CANCELLED": 1},
            "state = QUEUED": {"QUEUED": 2},
            "state = PAUSED": {},
            "priority = 5": {"QUEUED": 2, "CANCELLED": 1},
            "labels.team = red": {"SUCCEEDED": 1, "RUNNING": 1},
            "capability = text.other": {"QUEUED": 2, "CANCELLED": 1},
            f"create_time <= {first.create_time.ToJsonString()}": {"SUCCEEDED": 1},
            "end_time:*": {"SUCCEEDED": 1, "CANCELLED": 1},
        }
        assert {each: await counted(caller, each) for each in expected} == expected
        assert await counted(stranger) == {}


async def test_beyond_the_bound_counts_say_so(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.other"):
        await create(caller, capability="text.other")
    await stores.task.transaction(
        lambda connection: connection.execute(
            text(
                """
                INSERT INTO finished_tasks (id, tenant, capability, state, priority, attempt,
                    max_attempts, epoch, creator, create_time, ready_time, last_sequence, depth,
                    agent_name, tokens, cost, input, labels, attributes, end_time)
                SELECT gen_random_uuid(), 'acme', 'text.count', 'succeeded', n % 10, 1, 3, 1, 'x',
                    now(), now(), 3, 0, '', 0, 0, '', '{}', '{}', now()
                FROM generate_series(1, 100001) AS n
                """
            )
        )
    )
    response = await caller.CountTasks(task_service_pb2.CountTasksRequest())
    succeeded = next(c for c in response.counts if c.state == task_pb2.TASK_STATE_SUCCEEDED)
    assert (succeeded.count, succeeded.at_least) == (100_000, True)
    filtered = task_service_pb2.CountTasksRequest(filter="capability = text.count")
    [count] = (await caller.CountTasks(filtered)).counts
    assert count.at_least
    assert 0 < count.count <= 100_000


async def test_a_filter_that_makes_no_sense_is_refused(caller: TaskServiceStub) -> None:
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", "filter"):
        await counted(caller, "color = red")
