"""Retention: what is deleted of finished tasks, when, and what is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import payload_pb2, task_pb2, task_policy_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from services.task.blobs.blob import NewBlob
from services.task.settings import RetentionSettings
from tests.integration.replicas import RunningReplica, Stores, replica
from tests.integration.task.agents import connected, done, output, progress, register
from tests.integration.task.calls import (
    cancel,
    create,
    create_batch,
    creation,
    end_of,
    history,
    names,
    retry,
)
from tests.integration.task.test_counts import counted
from tests.integration.task.test_listing import listed
from tests.integration.task.test_watch_many import watching
from tests.waiting import until_true

AT_ONCE = 1e-6
OFTEN: dict[str, Any] = {"interval": 0.02, "pause": 0.0}


@pytest.fixture(autouse=True)
async def known(channel: aio.Channel) -> None:
    """Have one agent know the capabilities that these tests ask for."""
    await register(channel, "known", ["text.count", "text.other"])


@asynccontextmanager
async def keeping(
    stores: Stores, tokens: TokenFactory, **settings: float
) -> AsyncIterator[RunningReplica]:
    """Run another replica that deletes by these settings."""
    retention = RetentionSettings(**{**OFTEN, **settings})
    async with replica(stores, tokens, retention_settings=retention) as running:
        yield running


async def rows_of(stores: Stores, task_id: str) -> dict[str, int]:
    """How many rows of each table are a task's."""
    counts: dict[str, int] = {}
    for table, column in (
        ("tasks", "id"),
        ("finished_tasks", "id"),
        ("task_events", "task_id"),
        ("task_requests", "task_id"),
        ("task_terms", "task_id"),
        ("task_dependencies", "task_id"),
        ("task_dependencies", "depends_on"),
        ("budgets", "root_id"),
    ):
        statement = text(f"SELECT count(*) FROM {table} WHERE {column} = :id")  # noqa: S608
        count = partial(_scalar, statement=statement, task_id=task_id)
        counts[f"{table}.{column}"] = await stores.task.transaction(count)
    return {name: count for name, count in counts.items() if count}


async def _scalar(connection: Any, statement: Any, task_id: str) -> int:
    return int((await connection.execute(statement, {"id": UUID(task_id)})).scalar_one())


async def is_gone(stores: Stores, task_id: str) -> bool:
    return not await rows_of(stores, task_id)


def waiting_for(task_id: str) -> task_policy_pb2.Dependencies:
    condition = task_policy_pb2.Dependency.CONDITION_ENDED
    return task_policy_pb2.Dependencies(
        tasks=[task_policy_pb2.Dependency(task_id=task_id, condition=condition)]
    )


async def test_a_task_goes_by_its_outcome_with_all_that_is_its(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with connected(channel, "text.count") as agent:
        first = await create(caller)
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        wanted = task_pb2.Task(
            capability="text.count",
            labels={"team": "red"},
            dependencies=waiting_for(first.id),
            budget=task_policy_pb2.Budget(max_tasks=5),
        )
        request = task_service_pb2.CreateTaskRequest(task=wanted, request_id="once")
        second = await caller.CreateTask(request)
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        await end_of(caller, second.id)
    cancelled = (await create(caller, labels={"team": "red"})).id
    await cancel(caller, cancelled)
    waiting = (await create(caller)).id
    assert len(await rows_of(stores, second.id)) == 6
    async with keeping(stores, tokens, keep_succeeded=AT_ONCE):
        await until_true(lambda: is_gone(stores, first.id))
        await until_true(lambda: is_gone(stores, second.id))
    with refusal(grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", "task_id"):
        await caller.GetTask(task_service_pb2.GetTaskRequest(task_id=second.id))
    assert await listed(caller, "labels.team = red") == [cancelled]
    assert await listed(caller) == [waiting, cancelled]
    request.task.ClearField("dependencies")
    assert (await caller.CreateTask(request)).id != second.id


async def test_what_an_unfinished_task_needs_is_left(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        needed = (await create(caller)).id
        [assignment] = await agent.take()
        other = (await create(caller)).id
        [another] = await agent.take()
        both = task_policy_pb2.Dependencies(
            tasks=[*waiting_for(needed).tasks, *waiting_for(other).tasks]
        )
        dependent = (await create(caller, dependencies=both)).id
        await agent.report(done(assignment.lease))
        root = (await create(caller)).id
        [assignment] = await agent.take()
        child = (await create(caller, parent_id=root, capability="text.other")).id
        plain = (await create(caller, capability="text.other")).id
        await agent.report(done(assignment.lease))
        await end_of(caller, root)
        await cancel(caller, plain)
        async with keeping(stores, tokens, keep_succeeded=AT_ONCE, keep_cancelled=AT_ONCE):
            await until_true(lambda: is_gone(stores, plain))
            assert await counted(caller) == {
                "SUCCEEDED": 2,
                "SCHEDULED": 1,
                "QUEUED": 1,
                "RUNNING": 1,
            }
        await cancel(caller, child)
        await cancel(caller, dependent)
        async with keeping(stores, tokens, keep_succeeded=AT_ONCE, keep_cancelled=AT_ONCE):
            for task_id in (needed, root, child, dependent):
                await until_true(partial(is_gone, stores, task_id))
        await agent.report(done(another.lease))


async def test_output_is_kept_for_its_time_and_the_rest_of_the_history_stays(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        ended, running = [(await create(caller)).id for _ in range(2)]
        first, second = await agent.take(2)
        for lease in (first.lease, second.lease):
            await agent.report(output(lease, b"a"), progress(lease, 0.5), output(lease, b"b"))
        leases = {each.task.id: each.lease for each in (first, second)}
        await agent.report(done(leases[ended]))
        async with keeping(stores, tokens, keep_output=AT_ONCE):
            await until_true(lambda: _events(stores, ended, 4))
        assert [event.sequence for event in await history(caller, ended)] == [1, 2, 4, 6]
        await agent.report(done(leases[running]))
        assert names(await history(caller, running)) == [
            "CREATED", "STARTED", "OUTPUT", "PROGRESSED", "OUTPUT", "SUCCEEDED",
        ]  # fmt: skip


async def _events(stores: Stores, task_id: str, count: int) -> bool:
    return (await rows_of(stores, task_id))["task_events.task_id"] == count


async def test_a_watch_from_before_what_was_deleted_is_refused(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    async with watching(caller) as watcher:
        gone = (await create(caller)).id
        await cancel(caller, gone)
        kept = (await create(caller)).id
        before, last, after = [event.offset for event in await watcher.take(3)]
    async with keeping(stores, tokens, keep_cancelled=AT_ONCE):
        await until_true(lambda: is_gone(stores, gone))
    with refusal(grpc.StatusCode.FAILED_PRECONDITION, "OFFSET_EXPIRED", "after_offset"):
        request = task_service_pb2.WatchTasksRequest(after_offset=before)
        async for _ in caller.WatchTasks(request):
            pass
    for offset, expected in ((last, [1, 2]), (after, [2])):
        async with watching(caller, after_offset=offset) as resumed:
            if offset == last:
                await cancel(caller, kept)
            assert [event.sequence for event in await resumed.take(len(expected))] == expected


async def test_blobs_are_given_back_once_for_each_task_that_names_them(
    caller: TaskServiceStub, small_mesh: RunningReplica, stores: Stores, tokens: TokenFactory
) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"large"

    blob = await small_mesh.task.blobs.upload("acme", NewBlob("text/plain", 0, b""), data())
    payload = payload_pb2.Payload(content_type="text/plain", blob_id=str(blob.id))
    first = (await create(caller, input_payload=payload)).id
    await cancel(caller, first)
    copy = (await retry(caller, first)).id
    assert await _uses(stores, blob.id) == 2
    async with keeping(stores, tokens, keep_cancelled=AT_ONCE):
        await until_true(lambda: is_gone(stores, first))
        assert await _uses(stores, blob.id) == 1
    await cancel(caller, copy)
    async with keeping(stores, tokens, keep_cancelled=AT_ONCE):
        await until_true(lambda: is_gone(stores, copy))
        assert await _uses(stores, blob.id) == 0


async def _uses(stores: Stores, blob_id: UUID) -> int:
    statement = text("SELECT uses FROM blobs WHERE id = :id")
    return await stores.task.transaction(
        lambda connection: _scalar(connection, statement, str(blob_id))
    )


async def test_a_long_history_goes_in_several_steps(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    task_id = (await create(caller)).id
    await cancel(caller, task_id)
    statement = text(
        """
        INSERT INTO task_events (task_id, tenant, sequence, type, time, state, attempt, epoch,
            agent_name)
        SELECT :id, 'acme', n, 'progressed', now(), 'running', 1, 1, ''
        FROM generate_series(100, 11000) AS n
        """
    )
    await stores.task.transaction(
        lambda connection: connection.execute(statement, {"id": UUID(task_id)})
    )
    async with keeping(stores, tokens, keep_cancelled=AT_ONCE):
        await until_true(lambda: is_gone(stores, task_id))


async def test_two_replicas_delete_side_by_side(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    results = await create_batch(caller, *(creation(labels={"n": str(n)}) for n in range(100)))
    kept = (await create(caller)).id
    await asyncio.gather(*(cancel(caller, result.task_id) for result in results))
    async with (
        keeping(stores, tokens, keep_cancelled=AT_ONCE, step=7),
        keeping(stores, tokens, keep_cancelled=AT_ONCE, step=5),
    ):

        async def only_one_is_left() -> bool:
            return await counted(caller) == {"QUEUED": 1}

        await until_true(only_one_is_left)
    assert await listed(caller) == [kept]
    assert await rows_of(stores, kept) == {"tasks.id": 1, "task_events.task_id": 1}
