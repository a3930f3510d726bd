"""Steering and watching tasks and queues by the client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from agentmesh import Agent, MeshError, NewTask
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.sdk.fuse import Fuse
from tests.integration.sdk.parts import client_of, url_of, working


@pytest.fixture
def agent() -> Agent:
    """Do next to nothing."""
    agent = Agent("worker", slots=3, build_id="build-7")

    @agent.task("some.thing")
    async def some_thing() -> str:
        return "done"

    return agent


async def test_a_waiting_task_can_be_changed(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with client_of(url, tokens) as client:
        async with working(agent, url, tokens):
            pass
        task = await client.create_task("some.thing", labels={"a": "1"})
        before = await client.get_task(task)
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        changed = await client.update_task(
            task, etag=before.etag, priority=5, labels={"b": "2"}, expire_time=later
        )
        assert (changed.priority, changed.labels, changed.expire_time) == (5, {"b": "2"}, later)
        with pytest.raises(MeshError) as outdated:
            await client.update_task(task, etag=before.etag, priority=6)
        assert (outdated.value.code, outdated.value.reason) == ("ABORTED", "ETAG_MISMATCH")
        assert (await client.update_task(task, expire_time=None)).expire_time is None


async def test_an_ended_task_is_run_again_as_a_copy(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        first = await client.run_task("some.thing", {"a": 1})
        copy = await client.wait_task(await client.retry_task(first))
        assert (copy.replay_of, copy.input, copy.result) == (first.id, {"a": 1}, "done")
        listed = [task.id async for task in client.list_tasks(page_size=1)]
        assert listed == [copy.id, first.id]
        assert await client.count_tasks("state = SUCCEEDED") == {"SUCCEEDED": 2}


async def test_many_tasks_are_watched_across_a_cut(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with (
        Fuse(small_mesh.port) as fuse,
        working(agent, url, tokens),
        client_of(url, tokens) as client,
        client_of(fuse.url, tokens) as watcher,
        asyncio.timeout(30),
    ):
        first = await client.run_task("some.thing", labels={"team": "red"})
        root = [event async for event in watcher.watch_tasks(root=first)]
        assert [event.type for event in root] == ["CREATED", "STARTED", "SUCCEEDED"]
        others, ended = [], []
        async with aclosing(
            watcher.watch_tasks('labels.team = "red"', after=root[-1].offset)
        ) as events:
            others.append(await client.create_task("some.thing", labels={"team": "red"}))
            async for event in events:
                if event.type != "SUCCEEDED":
                    continue
                ended.append(event.task.id)
                if len(ended) == 3:
                    break
                fuse.blow()
                await client.run_task("some.thing", labels={"team": "blue"})
                others.append(await client.create_task("some.thing", labels={"team": "red"}))
    assert ended == [task.id for task in others[:3]]


async def test_queues_are_seen_and_paused(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        pause = await client.pause(capability="some.thing", until=3600, reason="a test")
        assert [each.id for each in await client.list_pauses()] == [pause.id]
        task = await client.create_task("some.thing")
        [queue] = await client.list_queues()
        assert (queue.capability, queue.queued) == ("some.thing", 1)
        await client.end_pause(pause)
        assert (await client.wait_task(task)).result == "done"
        assert await client.list_pauses() == []
        with pytest.raises(ValueError, match="one of them"):
            await client.pause()


async def test_builds_are_routed(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        await client.route_builds("some.thing", "build-8")
        task = await client.create_task("some.thing")
        [routing] = await client.list_build_routings()
        assert (routing.capability, routing.current) == ("some.thing", "build-8")
        await client.route_builds("some.thing", "build-7", ramping="build-8", percent=0)
        assert (await client.wait_task(task)).result == "done"
        await client.end_build_routing("some.thing")
        assert await client.list_build_routings() == []


async def test_connections_are_seen_with_build_and_slots(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client, asyncio.timeout(60):
        while not (connections := await client.list_connections()):
            await asyncio.sleep(0.05)
        [connection] = connections
        assert (connection.agent_name, connection.build_id) == ("worker", "build-7")
        assert connection.sdk.startswith("agentmesh-python/")
        agent.slots = 7
        while (await client.list_connections())[0].slots != 7:
            await asyncio.sleep(0.05)


async def test_one_thing_is_done_to_many_tasks(
    small_mesh: RunningReplica, agent: Agent, tokens: TokenFactory
) -> None:
    url = url_of(small_mesh)
    async with client_of(url, tokens) as client, asyncio.timeout(60):
        async with working(agent, url, tokens):
            pass
        for label in ("red", "blue"):
            await client.create_tasks(
                [NewTask("some.thing", labels={"team": label}) for _ in range(30)]
            )
        cancelling = await client.bulk_cancel('labels.team = "red"')
        states = [state async for state in cancelling.progress()]
        assert (states[-1].state, states[-1].done, states[-1].total) == ("DONE", 30, 30)
        assert await client.count_tasks() == {"CANCELLED": 30, "QUEUED": 30}
        replaying = await client.bulk_replay("state = CANCELLED")
        assert (await replaying.wait()).done == 30
        assert (await client.count_tasks())["QUEUED"] == 60
        listed = [operation async for operation in client.list_bulk_operations()]
        assert [each.action for each in listed] == ["REPLAY", "CANCEL"]
        again = await client.bulk_operation(cancelling.id)
        assert (await again.stop()).state == "DONE"
