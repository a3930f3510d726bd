"""Watching many tasks: by a filter or a tree, from any offset, on any replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import grpc
import pytest
from grpc import aio
from prometheus_client import REGISTRY
from sqlalchemy import text

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from services.task.store import log
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import connected, done, progress, register
from tests.integration.task.calls import Event, cancel, create, create_batch, creation, names
from tests.integration.task.conftest import open_channel
from tests.waiting import until_true

_PATIENCE = 15.0


@pytest.fixture(autouse=True)
async def known(channel: aio.Channel) -> None:
    """Have one agent know the capabilities that these tests ask for."""
    await register(channel, "known", ["text.count", "text.other"])


class Watcher:
    """A watch that is established: what happens from now on is told."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def take(self, count: int) -> list[Event]:
        """Wait for so many events."""
        async with asyncio.timeout(_PATIENCE):
            return [await self._call.read() for _ in range(count)]

    async def rest(self) -> list[Event]:
        """Read to the end of the stream."""
        events: list[Event] = []
        async with asyncio.timeout(_PATIENCE):
            while (event := await self._call.read()) is not aio.EOF:
                events.append(event)
        return events


@asynccontextmanager
async def watching(caller: TaskServiceStub, **wanted: Any) -> AsyncIterator[Watcher]:
    call = caller.WatchTasks(task_service_pb2.WatchTasksRequest(**wanted))
    async with asyncio.timeout(_PATIENCE):
        await call.initial_metadata()
    try:
        yield Watcher(call)
    finally:
        call.cancel()


def seen(events: Sequence[Event]) -> list[tuple[str, int]]:
    """Which task's change of which sequence each event is."""
    return [(event.task.id, event.sequence) for event in events]


async def test_all_changes_are_told_in_order(channel: aio.Channel, caller: TaskServiceStub) -> None:
    async with watching(caller) as watcher, connected(channel, "text.count") as agent:
        first = await create(caller)
        [assignment] = await agent.take()
        await agent.report(progress(assignment.lease, 0.5), done(assignment.lease))
        second = await create(caller, capability="text.other")
        await cancel(caller, second.id)
        events = await watcher.take(6)
    assert names(events) == [
        "CREATED", "STARTED", "PROGRESSED", "SUCCEEDED", "CREATED", "CANCELLED",
    ]  # fmt: skip
    assert [event.task.id for event in events] == [first.id] * 4 + [second.id] * 2
    assert events[3].task.state == task_pb2.TASK_STATE_SUCCEEDED
    assert events[3].task.HasField("end_time")


async def test_a_filter_judges_tasks_as_they_are_after_each_change(
    channel: aio.Channel, caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    async with (
        watching(caller, filter="state = RUNNING AND labels.team = red") as running,
        watching(caller, filter="end_time:* OR state = QUEUED") as edges,
        watching(stranger) as foreign,
        connected(channel, "text.count") as agent,
    ):
        red = await create(caller, labels={"team": "red"})
        [assignment] = await agent.take()
        await agent.report(progress(assignment.lease, 0.5), done(assignment.lease))
        blue = await create(caller, labels={"team": "blue"})
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        last = await create(caller, capability="text.other", labels={"team": "red"})
        assert seen(await running.take(2)) == [(red.id, 2), (red.id, 3)]
        assert seen(await edges.take(5)) == [
            (red.id, 1), (red.id, 4), (blue.id, 1), (blue.id, 3), (last.id, 1),
        ]  # fmt: skip
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await foreign.take(1)


async def test_a_watch_goes_on_from_an_offset_at_another_replica(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with watching(caller) as watcher:
        ids = [(await create(caller)).id for _ in range(3)]
        first = await watcher.take(2)
    await cancel(caller, ids[0])
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        watching(TaskServiceStub(elsewhere), after_offset=first[-1].offset) as resumed,
    ):
        await cancel(caller, ids[1])
        events = await resumed.take(3)
        assert seen(events) == [(ids[2], 1), (ids[0], 2), (ids[1], 2)]
    async with watching(caller, after_offset=events[0].offset) as again:
        assert seen(await again.take(2)) == [(ids[0], 2), (ids[1], 2)]


async def test_watchers_on_two_replicas_see_all_of_both_in_each_tasks_order(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
    ):
        other = TaskServiceStub(elsewhere)
        async with watching(caller) as here, watching(other) as there:
            created = await asyncio.gather(
                *(
                    create_batch(stub, *(creation() for _ in range(5)))
                    for stub in (caller, other) * 20
                )
            )
            ids = [result.task_id for batch in created for result in batch]
            await asyncio.gather(
                *(cancel((caller, other)[each % 2], task_id) for each, task_id in enumerate(ids))
            )
            told = [await watcher.take(2 * len(ids)) for watcher in (here, there)]
    for events in told:
        of_task: dict[str, list[int]] = {}
        for task_id, sequence in seen(events):
            of_task.setdefault(task_id, []).append(sequence)
        assert of_task == {task_id: [1, 2] for task_id in ids}
    assert seen(told[0]) == seen(told[1])


async def test_a_change_that_commits_late_is_waited_for(
    caller: TaskServiceStub, small_mesh: RunningReplica, stores: Stores
) -> None:
    copied = """
        INSERT INTO task_events (task_id, tenant, sequence, type, time, state, attempt, epoch,
            agent_name)
        VALUES (:id, 'acme', :sequence, 'updated', now(), 'queued', 0, 0, '')
    """
    late, early = [UUID((await create(caller)).id) for _ in range(2)]
    async with watching(caller) as watcher:
        inserted, released = asyncio.Event(), asyncio.Event()

        async def insert_late(connection: Any) -> None:
            await connection.execute(text(copied), {"id": late, "sequence": 2})
            inserted.set()
            await released.wait()

        slow = asyncio.create_task(stores.task.transaction(insert_late))
        await inserted.wait()
        await cancel(caller, str(early))
        read = asyncio.create_task(watcher.take(2))
        # The gap was seen, and is being waited at.
        feed = small_mesh.task.feed
        await until_true(lambda: _waits_at_a_gap(stores, feed))
        assert not read.done()
        released.set()
        await slow
        assert seen(await read) == [(str(late), 2), (str(early), 2)]


async def _waits_at_a_gap(stores: Stores, feed: Any) -> bool:
    last = await stores.task.transaction(log.last_position)
    return bool(feed.gap == last)


async def test_a_slow_watcher_reads_by_itself_and_misses_nothing(
    caller: TaskServiceStub, small_mesh: RunningReplica
) -> None:
    small_mesh.task.feed.room = 10
    before = _overflows()
    async with watching(caller) as watcher:
        batches = [await create_batch(caller, *(creation() for _ in range(500))) for _ in range(3)]
        ids = [result.task_id for batch in batches for result in batch]
        assert sorted(event.task.id for event in await watcher.take(len(ids))) == sorted(ids)
        await create(caller)
        await watcher.take(1)
    assert _overflows() > before


def _overflows() -> float:
    return REGISTRY.get_sample_value("agentmesh_feed_overflows_total") or 0.0


async def test_a_tree_is_told_from_its_beginning_to_its_end(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    root = (await create(caller)).id
    await create(caller)
    child = (await create(caller, parent_id=root)).id
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        watching(caller, root_id=root) as watcher,
        watching(TaskServiceStub(elsewhere), root_id=root, filter="state = CANCELLED") as ends,
    ):
        grandchild = (await create(caller, parent_id=child)).id
        await cancel(caller, child)
        await cancel(caller, root)
        events = await watcher.rest()
        assert seen(events[:3]) == [(root, 1), (child, 1), (grandchild, 1)]
        assert {each: seen(events).count(each) for each in seen(events)} == {
            (task_id, sequence): 1 for task_id in (root, child, grandchild) for sequence in (1, 2)
        }
        assert {event.task.id for event in await ends.rest()} == {root, child, grandchild}
    async with watching(caller, root_id=root, after_offset=events[1].offset) as resumed:
        assert seen(await resumed.rest()) == seen(events[2:])


async def test_what_can_not_be_watched_is_refused(
    caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    root = (await create(caller)).id
    child = (await create(caller, parent_id=root)).id
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    with refusal(invalid, "INVALID_FILTER", "filter"):
        await _refused(caller, filter="color = red")
    with refusal(invalid, "INVALID_ARGUMENT", "after_offset"):
        await _refused(caller, after_offset="seven")
    with refusal(invalid, "INVALID_ARGUMENT", "root_id"):
        await _refused(caller, root_id=child)
    with refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", "task_id"):
        await _refused(stranger, root_id=root)


async def _refused(caller: TaskServiceStub, **wanted: Any) -> None:
    async for _ in caller.WatchTasks(task_service_pb2.WatchTasksRequest(**wanted)):
        pass
