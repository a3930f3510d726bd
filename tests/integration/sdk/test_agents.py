"""Agents of the SDK on a real mesh: typed work, failure, cancellation, reconnection, leaving."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from agentmesh import Agent, MeshError, TaskContext, TaskFailed
from agentmesh.connection import Connection
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.sdk.fuse import Fuse
from tests.integration.sdk.parts import client_of, url_of, working


@dataclass
class Text:
    text: str


@pytest.fixture
def agent() -> Agent:
    """Do a few kinds of work."""
    agent = Agent("worker", slots=4)

    @agent.task("text.count", version="1.0.0")
    async def count(context: TaskContext, input: Text) -> dict[str, int]:  # noqa: A002 - as users write it
        """Count words."""
        await context.progress(0.5, "half way")
        return {"words": len(input.text.split())}

    @agent.task("text.shout")
    def shout(input: Text) -> str:  # noqa: A002 - as users write it
        return input.text.upper()

    @agent.task("fails.twice")
    async def fails_twice(context: TaskContext) -> int:
        if context.attempt < 3:
            raise ValueError(f"attempt {context.attempt}")
        return context.attempt

    @agent.task("fails.always")
    async def fails_always() -> None:
        raise TaskFailed("never", type="Hopeless", retryable=False)

    return agent


async def test_work_is_typed_both_ways(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        counted = await client.run_task("text.count", Text("one two three"))
        assert counted.result == {"words": 3}
        assert counted.progress is not None
        assert counted.progress.message == "half way"
        shouted = await client.run_task("text.shout", {"text": "hey"})
        assert shouted.result == "HEY"
        with pytest.raises(TaskFailed, match="text: Field required") as refused:
            await client.run_task("text.count", {"words": 1})
        assert refused.value.type == "InvalidInput"


async def test_a_watch_from_the_last_event_of_an_ended_task_ends(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.run_task("text.shout", {"text": "hey"})
        events = [event async for event in client.watch_task(task.id)]
        async with asyncio.timeout(30):
            after = [event async for event in client.watch_task(task.id, events[-1].sequence)]
    assert after == []


async def test_failures_are_tried_again_unless_they_are_final(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        assert (await client.run_task("fails.twice")).result == 3
        with pytest.raises(TaskFailed, match="attempt 1") as given_up:
            await client.run_task("fails.twice", max_attempts=1)
        assert given_up.value.task is not None
        assert given_up.value.task.state == "DEAD_LETTERED"
        with pytest.raises(TaskFailed, match="never") as refused:
            await client.run_task("fails.always")
        assert refused.value.type == "Hopeless"


async def test_cancellation_reaches_the_handler(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, stopped = Agent("sleeper"), asyncio.Event()

    @agent.task("sleep.long")
    async def sleep_long() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.create_task("sleep.long")
        async for event in client.watch_task(task.id):
            if event.type == "STARTED":
                await client.cancel_task(task.id)
        async with asyncio.timeout(30):
            await stopped.wait()
        assert (await client.get_task(task.id)).state == "CANCELLED"


async def test_a_task_survives_the_loss_of_its_agents_connection(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, started, finish = Agent("patient"), asyncio.Event(), asyncio.Event()

    @agent.task("wait.long")
    async def wait_long(context: TaskContext) -> int:
        started.set()
        await finish.wait()
        return context.attempt

    direct = url_of(small_mesh)
    async with (
        Fuse(small_mesh.port) as fuse,
        working(agent, fuse.url, tokens),
        client_of(direct, tokens) as client,
    ):
        task = await client.create_task("wait.long")
        await started.wait()
        # The task ends while nobody can hear of it; its report goes out on the next stream.
        fuse.blow()
        finish.set()
        ended = await client.wait_task(task.id)
    assert (ended.state, ended.result) == ("SUCCEEDED", 1)


async def test_an_agent_moves_to_another_replica_when_its_own_drains(
    stores: Stores, agent: Agent, tokens: TokenFactory
) -> None:
    async with (
        replica(stores, tokens) as second,
        client_of(url_of(second), tokens) as client,
        AsyncExitStack() as running,
    ):
        first = await running.enter_async_context(replica(stores, tokens))
        async with Fuse(first.port) as front, working(agent, front.url, tokens):
            front.lead_to(second.port)
            await running.aclose()
            async with asyncio.timeout(30):
                task = await client.run_task("text.shout", {"text": "moved"})
            assert task.result == "MOVED"


async def test_an_agent_that_leaves_finishes_what_it_has(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, started, finish = Agent("leaver", slots=1), asyncio.Event(), asyncio.Event()

    @agent.task("wait.long")
    async def wait_long() -> str:
        started.set()
        await finish.wait()
        return "finished"

    url = url_of(small_mesh)
    async with client_of(url, tokens) as client:
        async with working(agent, url, tokens) as worker:
            running = await client.create_task("wait.long")
            waiting = await client.create_task("wait.long")
            await started.wait()
            worker.leave()
            finish.set()
        assert (await client.get_task(running.id)).result == "finished"
        assert (await client.get_task(waiting.id)).state == "QUEUED"
        [known] = await client.list_agents()
        assert known.state == "OFFLINE"


async def test_an_agent_without_the_right_is_told_so(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    worker = agent.worker(Connection(url_of(small_mesh), tokens.sign("task:read")))
    with pytest.raises(MeshError, match="agent:register") as refused:
        await worker.run()
    assert refused.value.reason == "PERMISSION_DENIED"
