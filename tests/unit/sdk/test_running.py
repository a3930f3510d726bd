"""What an agent process reports of its tasks, whatever its handlers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agentmesh import TaskContext, TaskFailed
from agentmesh.payloads import from_value
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from tests.unit.sdk.process import Process, accepted, refused

MESSAGE_LIMIT = 1 << 20


async def test_only_the_receipt_of_the_end_settles_a_task() -> None:
    finish = asyncio.Event()

    async def work(context: TaskContext) -> str:
        await context.progress(0.5)
        await finish.wait()
        return "done"

    process = Process(work).start()
    [progress] = await process.entries()
    finish.set()
    await process.ended()
    process.running.acknowledge(progress, accepted(progress))
    settled = asyncio.create_task(process.outbox.settled())
    [end] = await process.entries()
    assert end.report.completion.result.string_value == "done"
    assert not settled.done()
    process.running.acknowledge(end, accepted(end))
    async with asyncio.timeout(5):
        await settled


async def test_an_end_that_makes_no_sense_to_the_mesh_fails_the_attempt() -> None:
    async def work(context: TaskContext) -> str:
        await context.progress(0.5)
        return "done"

    process = Process(work).start()
    await process.ended()
    progress, end = await process.entries()
    process.running.acknowledge(progress, refused(progress, "INVALID_ARGUMENT"))
    process.running.acknowledge(end, refused(end, "INVALID_ARGUMENT"))
    [failed] = await process.entries()
    assert failed.report.failure.error == task_pb2.TaskError(
        type="ReportRefused", message="INVALID_ARGUMENT: no good"
    )
    assert not failed.report.failure.retryable
    process.running.acknowledge(failed, refused(failed, "INVALID_ARGUMENT"))
    async with asyncio.timeout(5):
        await process.outbox.settled()


async def test_under_a_lost_lease_nothing_more_is_reported() -> None:
    async def work(context: TaskContext) -> None:
        await context.progress(0.5)
        await asyncio.Event().wait()

    process = Process(work).start()
    [progress] = await process.entries()
    process.running.acknowledge(progress, refused(progress, "LEASE_LOST"))
    assert process.running.leases() == []
    async with asyncio.timeout(5):
        await process.outbox.settled()


async def test_what_got_no_receipt_goes_out_again_before_anything_new() -> None:
    async def work(context: TaskContext) -> str:
        context.output("a")
        return "done"

    process = Process(work).start()
    await process.ended()
    sent = await process.entries()
    process.start("task-2")
    await process.ended()
    process.outbox.put_back(sent)
    again = await process.entries()
    assert again[:2] == sent
    assert {entry.key[0] for entry in again[2:]} == {"task-2"}


async def test_of_progress_the_latest_counts_and_of_usage_the_sum() -> None:
    async def work(context: TaskContext) -> None:
        context.progress(0.1)
        context.usage(tokens=5)
        context.progress(0.2)
        context.heartbeat({"page": 1})
        context.usage(tokens=7, cost=0.5)
        context.heartbeat({"page": 2})

    progress, beat, end = await Process(work).start().reports()
    assert progress.progress.fraction == 0.2
    assert (beat.heartbeat.usage.tokens, beat.heartbeat.usage.cost) == (12, 0.5)
    assert beat.heartbeat.checkpoint.struct_value["page"] == 2
    assert end.HasField("completion")


async def test_usage_is_not_lost_with_a_stream() -> None:
    more = asyncio.Event()

    async def work(context: TaskContext) -> None:
        context.usage(tokens=5)
        context.heartbeat("first")
        await more.wait()
        context.usage(tokens=7)

    process = Process(work).start()
    sent = await process.entries()
    more.set()
    await process.ended()
    process.outbox.put_back(sent)
    beat, end = await process.reports()
    assert beat.heartbeat.usage.tokens == 12
    assert beat.heartbeat.checkpoint.string_value == "first"
    assert end.HasField("completion")


async def test_output_is_divided_and_waits_for_room() -> None:
    made: list[int] = []

    async def work(context: TaskContext) -> None:
        for number in range(8):
            await context.output(b"x" * (1 << 20))
            made.append(number)

    process = Process(work).start()
    pieces: list[bytes] = []
    while True:
        reports = await process.reports()
        assert len(made) <= 5 + len(pieces) // 4
        assert dispatch.Reports(reports=reports).ByteSize() < MESSAGE_LIMIT
        pieces += [report.output.data for report in reports if report.HasField("output")]
        if reports[-1].HasField("completion"):
            break
    assert [len(piece) for piece in pieces] == [256 << 10] * 32


async def test_reports_are_divided_so_that_each_message_fits() -> None:
    async def work() -> str:
        return "x" * 600_000

    process = Process(work).start("task-1", "task-2", "task-3")
    for _ in range(3):
        reports = await process.reports()
        assert dispatch.Reports(reports=reports).ByteSize() < MESSAGE_LIMIT


async def test_a_thread_can_say_all_that_a_coroutine_can() -> None:
    def work(context: TaskContext) -> str:
        context.progress(0.5, "half")
        context.output("text")
        context.heartbeat([1])
        return "done"

    process = Process(work).start()
    await process.ended()
    kinds = [str(report.WhichOneof("report")) for report in await process.reports()]
    assert sorted(kinds) == ["completion", "heartbeat", "output", "progress"]
    assert kinds[-1] == "completion"


async def test_a_pause_hands_the_task_back_through_any_except() -> None:
    async def work(context: TaskContext) -> None:
        try:
            context.pause("Which one?", kind="approval", details={"choices": [1, 2]})
        except Exception:  # noqa: BLE001 - as a careless handler would
            raise AssertionError("not to be caught") from None

    [end] = await Process(work).start().reports()
    assert end.pause.prompt == "Which one?"
    assert end.pause.kind == task_pb2.TaskPause.KIND_APPROVAL_REQUIRED
    assert from_value(end.pause.details) == {"choices": [1, 2]}


async def test_an_answer_and_a_checkpoint_reach_the_handler() -> None:
    async def work(context: TaskContext) -> list[Any]:
        return [context.answered, context.answer, context.checkpoint, context.dependency_results]

    process = Process(work)
    value = {"string_value": "blue"}
    process.start(answer=value, checkpoint={"number_value": 7}, dependency_results={"t": value})
    [end] = await process.reports()
    assert from_value(end.completion.result) == [True, "blue", 7, {"t": "blue"}]


async def test_a_failure_says_what_is_to_be_done_next() -> None:
    async def work() -> None:
        raise TaskFailed("busy", type="Busy", retry_after=timedelta(days=9), pause_key="openai")

    [end] = await Process(work).start().reports()
    failure = end.failure
    assert (failure.error.type, failure.retryable, failure.pause_key) == ("Busy", True, "openai")
    assert failure.retry_after.ToTimedelta() == timedelta(days=1)


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


async def _less_than_nothing(context: TaskContext) -> None:
    await context.usage(tokens=-1)


async def _large_details(context: TaskContext) -> None:
    await context.heartbeat("x" * (1 << 20))


async def _odd_question(context: TaskContext) -> None:
    context.pause("what?", details=object())


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


def _not_json() -> object:
    return object()


@pytest.mark.parametrize(
    ("function", "type_"),
    [
        (_odd_words, "ValueError"),
        (_no_words, "Silent"),
        (_ends_an_iterator, "RuntimeError"),
        (_not_a_number, "ValueError"),
        (_less_than_nothing, "ValueError"),
        (_large_details, "ValueError"),
        (_odd_question, "PydanticSerializationError"),
        (_cancels_itself, "CancelledError"),
        (_not_json, "PydanticSerializationError"),
    ],
)
async def test_whatever_a_handler_does_its_task_ends(
    function: Callable[..., Any], type_: str
) -> None:
    process = Process(function).start()
    [report] = await process.reports()
    assert report.failure.error.type == type_
    assert "\0" not in report.failure.error.message
    assert report.ByteSize() < MESSAGE_LIMIT
    assert process.running.leases() == []
