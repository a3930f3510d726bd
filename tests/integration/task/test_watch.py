"""Watching a task: ordered, without gaps, resumable anywhere."""

from __future__ import annotations

import asyncio

from grpc import aio

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores, replica
from tests.integration.task.agents import connected, done, progress
from tests.integration.task.calls import cancel, create
from tests.integration.task.conftest import open_channel


async def watch(caller: TaskServiceStub, task_id: str, after: int = 0) -> list[int]:
    """The sequences that a watcher sees, to the end."""
    request = task_service_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
    async with asyncio.timeout(60):
        return [event.sequence async for event in caller.WatchTask(request)]


async def test_watchers_on_every_replica_see_the_same_live(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        connected(channel, "text.count") as agent,
    ):
        task_id = (await create(caller)).id
        watchers = [
            asyncio.create_task(watch(stub, task_id))
            for stub in (caller, TaskServiceStub(elsewhere))
            for _ in range(3)
        ]
        [assignment] = await agent.take()
        for step in range(1, 6):
            await agent.report(progress(assignment.lease, step / 10))
        await agent.report(done(assignment.lease))
        seen = await asyncio.gather(*watchers)
    assert seen == [list(range(1, 9))] * 6


async def test_a_watch_resumes_after_any_sequence(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [assignment] = await agent.take()
        await agent.report(*[progress(assignment.lease, step / 10) for step in range(5)])
        await agent.report(done(assignment.lease))
    for after in range(9):
        assert await watch(caller, task_id, after) == list(range(after + 1, 9))


async def test_a_terminal_task_is_told_and_the_stream_ends(
    caller: TaskServiceStub, channel: aio.Channel
) -> None:
    async with connected(channel, "text.other"):
        task_id = (await create(caller, capability="text.other")).id
        await cancel(caller, task_id, grace=0)
    request = task_service_pb2.WatchTaskRequest(task_id=task_id)
    events = [event async for event in caller.WatchTask(request)]
    assert events[-1].task.state == task_pb2.TASK_STATE_CANCELLED
    assert events[-1].task.HasField("end_time")
