"""Streams that end, for whatever cause, and what becomes of the tasks meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from uuid import UUID

import pytest

from agentmesh import Agent, TaskContext
from meshkit.testing.tokens import TokenFactory
from services.task.dispatch.streams import Stream
from services.task.settings import DispatchSettings
from tests.integration.replicas import RULES, RunningReplica, Stores, replica
from tests.integration.sdk.fuse import Fuse
from tests.integration.sdk.parts import client_of, url_of, working

SHORT_LIVED = RULES.model_copy(update={"stream_max_age": 0.5})


@pytest.fixture
async def restless(stores: Stores, tokens: TokenFactory) -> AsyncIterator[RunningReplica]:
    """Run a replica that hands its streams over all the time."""
    async with replica(stores, tokens, rules=DispatchSettings(**SHORT_LIVED.model_dump())) as one:
        yield one


async def test_tasks_go_on_while_their_stream_is_handed_over(
    restless: RunningReplica, tokens: TokenFactory
) -> None:
    agent, finish = Agent("patient", slots=5), asyncio.Event()

    @agent.task("wait.long")
    async def wait_long(context: TaskContext) -> int:
        await finish.wait()
        return context.attempt

    @agent.task("wait.short")
    async def wait_short(context: TaskContext) -> int:
        await context.output("x")
        return context.attempt

    url = url_of(restless)
    async with (
        working(agent, url, tokens),
        client_of(url, tokens) as client,
        asyncio.timeout(60),
    ):
        long = await client.create_task("wait.long")
        streams: set[UUID] = set()
        while len(streams) < 4:
            done = await client.run_task("wait.short")
            assert (done.result, done.attempt) == (1, 1)
            streams |= _ids(restless.task.dispatcher.streams)
        finish.set()
        ended = await client.wait_task(long)
        types = [event.type async for event in client.watch_task(long)]
    assert ended.result == 1
    assert types == ["CREATED", "STARTED", "SUCCEEDED"]


async def test_heartbeats_come_often_only_while_there_is_a_task(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    finish = asyncio.Event()

    def agent_of(name: str) -> Agent:
        agent = Agent(name)

        @agent.task(f"wait.{name}")
        async def wait() -> None:
            await finish.wait()

        return agent

    url, seen = url_of(small_mesh), defaultdict[str, set[float]](set)

    async def heard_often(name: str) -> None:
        while len(seen[name]) < 20:
            for stream in small_mesh.task.dispatcher.streams:
                seen[stream.agent.name].add(stream.seen)
            await asyncio.sleep(0.005)

    async with (
        working(agent_of("busy"), url, tokens),
        working(agent_of("idle"), url, tokens),
        client_of(url, tokens) as client,
        asyncio.timeout(60),
    ):
        await client.create_task("wait.busy")
        await heard_often("busy")
        # Its hello and one heartbeat.
        assert len(seen["idle"]) <= 2
        await client.create_task("wait.idle")
        await heard_often("idle")
        finish.set()


async def test_a_connection_that_carries_nothing_is_given_up(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, started, finish = Agent("patient"), asyncio.Event(), asyncio.Event()

    @agent.task("wait.long")
    async def wait_long(context: TaskContext) -> int:
        started.set()
        await finish.wait()
        return context.attempt

    url = url_of(small_mesh)
    async with (
        Fuse(small_mesh.port) as fuse,
        working(agent, fuse.url, tokens),
        client_of(url, tokens) as client,
        asyncio.timeout(50),
    ):
        task = await client.create_task("wait.long")
        await started.wait()
        fuse.stall()
        finish.set()
        ended = await client.wait_task(task)
    assert (ended.state, ended.result) == ("SUCCEEDED", 1)


async def test_slots_change_while_the_agent_runs(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, finish, running = Agent("elastic", slots=1), asyncio.Event(), 0

    @agent.task("wait.long")
    async def wait_long() -> None:
        nonlocal running
        running += 1
        await finish.wait()

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client, asyncio.timeout(30):
        tasks = [await client.create_task("wait.long") for _ in range(5)]
        while running < 1:
            await asyncio.sleep(0.01)
        agent.slots = 3
        while running < 3:
            await asyncio.sleep(0.01)
        agent.pause()
        while any(stream.slots for stream in small_mesh.task.dispatcher.streams):
            await asyncio.sleep(0.01)
        finish.set()
        for task in tasks[:3]:
            await client.wait_task(task)
        assert running == 3
        agent.resume()
        for task in tasks:
            assert (await client.wait_task(task)).state == "SUCCEEDED"
    assert running == 5


async def test_streams_of_one_process_do_not_fight(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("twin")
    agent.task("some.thing")(lambda: "done")
    url = url_of(small_mesh)
    async with (
        working(agent, url, tokens) as one,
        working(agent, url, tokens) as two,
        client_of(url, tokens) as client,
        asyncio.timeout(30),
    ):
        while len(small_mesh.task.dispatcher.streams) < 2:
            await asyncio.sleep(0.01)
        # As a process that was forked while it had a stream.
        two._process_id = one._process_id
        before = _ids(small_mesh.task.dispatcher.streams)
        for session in list(two._sessions):
            session._call.cancel()
        while len(streams := small_mesh.task.dispatcher.streams) != 1 or _ids(streams) <= before:
            await asyncio.sleep(0.01)
        loop, seen = asyncio.get_running_loop(), set(_ids(streams))
        began = loop.time()
        for _ in range(20):
            assert (await client.run_task("some.thing")).result == "done"
            seen |= _ids(small_mesh.task.dispatcher.streams)
        # Each takes the place of the other, but in its own time.
        assert len(seen) <= 1 + (loop.time() - began) / 5


def _ids(streams: Iterable[Stream]) -> set[UUID]:
    return {stream.id for stream in streams}
