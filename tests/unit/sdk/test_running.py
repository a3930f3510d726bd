"""What an agent process reports of its tasks, whatever its handlers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentmesh import Agent, TaskContext
from agentmesh.running import Running
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2

MESSAGE_LIMIT = 1 << 20


def start(function: Callable[..., Any], *task_ids: str) -> Running:
    """Run tasks with one handler, as if they had been assigned."""
    agent = Agent("tester")
    agent.task("some.thing")(function)
    running = Running(agent.handlers)
    for task_id in task_ids or ("task-1",):
        task = task_pb2.Task(id=task_id, capability="some.thing", attempt=1)
        lease = dispatch.Lease(task_id=task_id, epoch=1)
        running.start(dispatch.Assignment(lease=lease, task=task))
    return running


async def reports_of(running: Running) -> list[dispatch.Report]:
    async with asyncio.timeout(5):
        return await running.next_reports()


async def test_the_receipt_of_progress_is_not_taken_for_that_of_the_end() -> None:
    finish = asyncio.Event()

    async def work(context: TaskContext) -> str:
        await context.progress(0.5)
        await finish.wait()
        return "done"

    running = start(work)
    [progress] = await reports_of(running)
    finish.set()
    async with asyncio.timeout(5):
        while running.leases():
            await asyncio.sleep(0)
    running.acknowledge(dispatch.Receipt(lease=progress.lease, accepted=True))
    [end] = await reports_of(running)
    assert end.completion.result.string_value == "done"
    idle = asyncio.create_task(running.idle())
    running.acknowledge(dispatch.Receipt(lease=end.lease, accepted=True))
    async with asyncio.timeout(5):
        await idle


async def test_an_end_without_a_receipt_goes_out_again_on_the_next_stream() -> None:
    async def work() -> str:
        return "done"

    running = start(work)
    first = await reports_of(running)
    running.resend()
    assert await reports_of(running) == first


async def test_reports_are_divided_so_that_each_message_fits() -> None:
    async def work() -> str:
        return "x" * 600_000

    running = start(work, "task-1", "task-2", "task-3")
    for _ in range(3):
        reports = await reports_of(running)
        assert dispatch.Reports(reports=reports).ByteSize() < MESSAGE_LIMIT


def _too_large() -> str:
    return "x" * (MESSAGE_LIMIT + 1)


def _odd_words() -> None:
    raise ValueError("a file named \udcff\0")


def _no_words() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Silent


def _ends_an_iterator() -> None:
    next(iter(()))


async def _not_a_number(context: TaskContext) -> None:
    await context.progress(float("nan"))


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


def _not_json() -> object:
    return object()


@pytest.mark.parametrize(
    ("function", "type_"),
    [
        (_too_large, "ResultTooLarge"),
        (_odd_words, "ValueError"),
        (_no_words, "Silent"),
        (_ends_an_iterator, "RuntimeError"),
        (_not_a_number, "ValueError"),
        (_cancels_itself, "CancelledError"),
        (_not_json, "PydanticSerializationError"),
    ],
)
async def test_whatever_a_handler_does_its_task_ends(
    function: Callable[..., Any], type_: str
) -> None:
    running = start(function)
    [report] = await reports_of(running)
    assert report.failure.error.type == type_
    assert "\0" not in report.failure.error.message
    assert report.ByteSize() < MESSAGE_LIMIT
    assert running.leases() == []
