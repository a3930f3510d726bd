"""What comes twice, late or out of order, and a database that hangs up in between."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from tests.integration.replicas import Stores
from tests.integration.task.agents import (
    HandAgent,
    connected,
    done,
    failed,
    output,
    progress,
    released,
)
from tests.integration.task.calls import (
    attempts,
    create,
    create_batch,
    creation,
    end_of,
    get,
    history,
    names,
    state_of,
)
from tests.integration.task.test_leases import lapse

KILL = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'agentmesh-writer' AND datname = current_database()"
)


async def hang_up(database: Database) -> None:
    """End the writer's session from the server's side."""
    await database.transaction(lambda tx: tx.execute(KILL))


async def log_length(database: Database) -> int:
    """Return how much has happened."""
    count = text("SELECT count(*) FROM task_events")
    return int((await database.transaction(lambda tx: tx.execute(count))).scalar_one())


async def test_reports_in_any_order_and_number_come_to_one_end(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    chance = random.Random(7)  # noqa: S311 - a test's own, the same each time
    async with connected(channel, "text.count", slots=5) as agent:
        tasks = [await create(caller, max_attempts=1) for _ in range(5)]
        leases = [each.lease for each in await agent.take(5)]
        reports = [
            report
            for lease in leases
            for report in (progress(lease, 0.5), done(lease), failed(lease), output(lease, b"x"))
            for _ in range(3)
        ]
        chance.shuffle(reports)
        accepted: Counter[str] = Counter()
        for report, receipt in zip(reports, await agent.report(*reports), strict=True):
            kind = report.WhichOneof("report")
            if receipt.accepted and kind in ("completion", "failure"):
                accepted[report.lease.task_id] += 1
            assert receipt.reason == ("" if receipt.accepted else "LEASE_LOST")
    for task in tasks:
        # The first end counts, and is accepted each of the three times that it is told.
        assert accepted[task.id] == 3
        events = names(await history(caller, task.id))
        assert sum(name in ("SUCCEEDED", "DEAD_LETTERED") for name in events) == 1


async def test_a_report_that_comes_after_the_task_went_to_another_is_refused(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count", name="slow") as slow:
        task = await create(caller)
        [first] = await slow.take()
        await slow.leave()
        async with connected(channel, "text.count", name="quick") as quick:
            await lapse(stores.task)
            [second] = await quick.take()
            late = await slow.report(
                progress(first.lease, 0.9),
                output(first.lease, b"late"),
                failed(first.lease, retryable=False),
                released(first.lease),
                done(first.lease),
            )
            assert [receipt.reason for receipt in late] == ["LEASE_LOST"] * 5
            # Nor may the one guess the other's epoch.
            [guessed] = await slow.report(done(second.lease))
            assert not guessed.accepted
            await quick.report(done(second.lease, "right"))
            [after] = await slow.report(done(first.lease))
            assert not after.accepted
    assert (await get(caller, task.id)).result.string_value == "right"
    assert "OUTPUT" not in names(await history(caller, task.id))


async def work(agent: HandAgent, ended: Counter[str], count: int) -> None:
    """Do tasks until so many have ended; each first fails, then gives output, then is done."""
    while len(ended) < count:
        [assignment] = await agent.take()
        lease = assignment.lease
        if assignment.task.attempt == 1:
            reports = [failed(lease)]
        else:
            reports = [output(lease, b"one"), output(lease, b"two"), done(lease)]
        receipts = await agent.report(*reports)
        if receipts[-1].accepted and len(reports) > 1:
            ended[lease.task_id] += 1


async def test_a_writer_that_is_cut_off_in_mid_traffic_loses_and_doubles_nothing(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    count, ended = 40, Counter[str]()
    stop = asyncio.Event()

    async def cut() -> None:
        chance = random.Random(11)  # noqa: S311 - a test's own, the same each time
        while not stop.is_set():
            before = await log_length(stores.task)
            await hang_up(stores.task)
            # As soon as it goes on again, at whatever step it is then.
            while await log_length(stores.task) == before and not stop.is_set():
                await asyncio.sleep(chance.uniform(0.001, 0.02))

    async with connected(channel, "text.count", slots=8) as agent:
        cutting = asyncio.create_task(cut())
        working = asyncio.create_task(work(agent, ended, count))
        single = asyncio.gather(*[create(caller) for _ in range(count // 2)])
        batches = asyncio.gather(*[create_batch(caller, creation()) for _ in range(count // 2)])
        ids = {each.id for each in await single} | {each.task_id for [each] in await batches}
        assert len(ids) == count
        async with asyncio.timeout(45):
            while len(ended) < count and not working.done():
                await asyncio.wait([working], timeout=0.2)
        stop.set()
        await cutting
        await working
    assert set(ended) == ids
    assert set(ended.values()) == {1}
    for task_id in ids:
        await check(caller, task_id)


async def check(caller: TaskServiceStub, task_id: str) -> None:
    """Hold a task's history against what its agent did, once."""
    task = await end_of(caller, task_id)
    events = await history(caller, task_id)
    told = names(events)
    assert (state_of(task), task.attempt) == ("SUCCEEDED", 2)
    assert (told.count("RETRYING"), told.count("OUTPUT"), told.count("SUCCEEDED")) == (1, 2, 1)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    ends = [attempt.outcome for attempt in await attempts(caller, task_id)]
    assert ends.count(task_pb2.Attempt.OUTCOME_FAILED) == 1
    # Those that were leased in a transaction that was cut off were given back.
    others = {task_pb2.Attempt.OUTCOME_SUCCEEDED, task_pb2.Attempt.OUTCOME_RELEASED}
    assert set(ends) - {task_pb2.Attempt.OUTCOME_FAILED} <= others


async def test_an_idle_writer_that_was_cut_off_goes_on(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        for _ in range(5):
            await hang_up(stores.task)
            task = await create(caller)
            [assignment] = await agent.take()
            assert assignment.lease == dispatch.Lease(task_id=task.id, epoch=1)
            await hang_up(stores.task)
            [receipt] = await agent.report(done(assignment.lease))
            assert receipt.accepted
