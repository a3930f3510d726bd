"""Handlers that are to stop: in order, within a grace, or because the lease is lost."""

from __future__ import annotations

import asyncio
import threading
from typing import NoReturn

from agentmesh import TaskContext
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from tests.unit.sdk.process import Process, lease


async def test_a_cancelled_coroutine_cleans_up_and_is_reported_as_stopped() -> None:
    started, cleaned = asyncio.Event(), []

    async def work(context: TaskContext) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await context.progress(0.9, "cleaning up")
            cleaned.append(1)

    process = Process(work).start()
    await started.wait()
    process.running.ask_to_stop(lease("task-1"))
    await process.ended()
    progress, end = await process.reports()
    assert progress.progress.message == "cleaning up"
    assert (end.HasField("stopped"), cleaned) == (True, [1])


async def test_what_is_finished_within_the_grace_counts() -> None:
    started = asyncio.Event()

    async def work() -> str:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "just done"
        return "never"

    process = Process(work).start()
    await started.wait()
    process.running.ask_to_stop(lease("task-1"))
    [end] = await process.reports()
    assert end.completion.result.string_value == "just done"


async def test_a_task_that_is_cancelled_before_its_first_step_never_begins() -> None:
    async def work() -> NoReturn:
        raise AssertionError("not to be reached")

    process = Process(work).start()
    process.running.ask_to_stop(lease("task-1"))
    [end] = await process.reports()
    assert end.HasField("stopped")


async def test_a_plain_function_that_has_seen_the_cancellation_has_stopped() -> None:
    looked, asked = threading.Event(), threading.Event()

    def work(context: TaskContext) -> None:
        assert not context.cancelled
        looked.set()
        asked.wait(5)
        if context.cancelled:
            raise RuntimeError("no matter what")

    process = Process(work).start()
    await asyncio.to_thread(looked.wait, 5)
    process.running.ask_to_stop(lease("task-1"))
    asked.set()
    [end] = await process.reports()
    assert end.HasField("stopped")


async def test_a_plain_function_that_has_not_looked_has_done_its_task() -> None:
    asked = threading.Event()

    def work() -> str:
        asked.wait(5)
        return "done"

    process = Process(work).start()
    await asyncio.sleep(0)
    process.running.ask_to_stop(lease("task-1"))
    asked.set()
    [end] = await process.reports()
    assert end.completion.result.string_value == "done"


async def test_nothing_is_reported_of_a_lost_lease() -> None:
    started = asyncio.Event()

    async def work(context: TaskContext) -> None:
        context.output("x")
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            context.progress(1.0)

    process = Process(work).start()
    await started.wait()
    process.running.stop(lease("task-1"))
    async with asyncio.timeout(5):
        await process.outbox.settled()
    await asyncio.sleep(0)
    assert process.outbox.take() == []


async def test_a_refused_report_means_that_the_lease_is_lost() -> None:
    started = asyncio.Event()

    async def work(context: TaskContext) -> None:
        context.progress(0.5)
        started.set()
        await asyncio.Event().wait()

    process = Process(work).start()
    await started.wait()
    [entry] = await process.entries()
    refused = dispatch.Receipt(lease=entry.report.lease, reason="LEASE_LOST")
    process.running.acknowledge(entry, refused)
    assert process.running.leases() == []
