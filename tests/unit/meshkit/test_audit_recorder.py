"""What becomes of records between the decision and the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from meshkit.audit.record import Decision, Record, record_within_bounds
from meshkit.audit.recorder import BATCH, Recorder
from meshkit.errors import InvalidArgument, Unavailable
from meshkit.ids import uuid7
from meshkit.settings import AuditSettings
from tests.waiting import until


class Sink:
    """Keeps what it is given, or fails as it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.fail: Callable[[Sequence[Record]], Exception | None] = lambda _: None
        self.attempts = 0

    async def store(self, records: Sequence[Record]) -> None:
        self.attempts += 1
        if problem := self.fail(records):
            raise problem
        self.batches.append(list(records))

    @property
    def stored(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]


def a_record(**texts: str) -> Record:
    blank = dict.fromkeys(
        (
            "tenant",
            "subject",
            "actor",
            "method",
            "resource",
            "reason",
            "request_id",
            "address",
            "service",
        ),
        "",
    )
    return record_within_bounds(uuid7(), datetime.now(UTC), Decision.ALLOWED, **{**blank, **texts})


def put(recorder: Recorder, record: Record) -> None:
    recorder.reserve()
    recorder.record(record)


@asynccontextmanager
async def recording(sink: Sink, **settings: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(
        sink, service="task", settings=AuditSettings(**{"flush_interval": 0.01} | settings)
    )
    recorder.start()
    try:
        yield recorder
    finally:
        await recorder.stop()


def away(_: Sequence[Record]) -> Exception:
    return Unavailable("auth is away")


async def test_records_are_stored_soon_in_their_order_and_in_batches() -> None:
    sink = Sink()
    records = [a_record() for _ in range(BATCH + 3)]
    async with recording(sink) as recorder:
        for each in records:
            put(recorder, each)
        assert recorder.held == BATCH + 3
        await until(lambda: recorder.held == 0)
        assert [len(batch) for batch in sink.batches] == [BATCH, 3]
        assert sink.stored == records
        put(recorder, later := a_record())
        await until(lambda: sink.stored[-1] == later)


@pytest.mark.parametrize("problem", [Unavailable("away"), RuntimeError("a bug")])
async def test_what_could_not_be_stored_is_tried_again_until_it_is(problem: Exception) -> None:
    sink = Sink()
    sink.fail = lambda _: problem
    async with recording(sink) as recorder:
        put(recorder, first := a_record())
        await until(lambda: sink.attempts >= 2)
        put(recorder, second := a_record())
        assert (recorder.held, sink.stored) == (2, [])
        sink.fail = lambda _: None
        await until(lambda: recorder.held == 0)
    assert sink.stored == [first, second]


async def test_no_more_is_held_than_the_bound_and_what_is_promised_counts() -> None:
    sink = Sink()
    sink.fail = away
    async with recording(sink, buffer=3, flush_patience=0.01) as recorder:
        put(recorder, a_record())
        recorder.reserve()
        recorder.reserve()
        with pytest.raises(Unavailable) as full:
            recorder.reserve()
        assert (full.value.reason, full.value.retry_after) == ("AUDIT_LOG_FULL", 1.0)
        recorder.release()
        recorder.reserve()
        recorder.record(a_record())
        recorder.record(a_record())
        with pytest.raises(Unavailable):
            recorder.reserve()
        sink.fail = lambda _: None
        await until(lambda: recorder.held == 0)
        recorder.reserve()
        recorder.release()


async def test_a_clean_stop_stores_what_is_left_at_once() -> None:
    sink = Sink()
    async with recording(sink, flush_interval=3600) as recorder:
        records = [a_record() for _ in range(BATCH * 2)]
        for each in records:
            put(recorder, each)
        async with asyncio.timeout(2):
            await recorder.stop()
    assert sink.stored == records


async def test_a_stop_outlasts_a_short_absence_of_the_log() -> None:
    sink = Sink()
    sink.fail = lambda _: Unavailable("away") if sink.attempts < 3 else None
    async with recording(sink) as recorder:
        put(recorder, a_record())
    assert (len(sink.stored), sink.attempts) == (1, 3)


async def test_a_stop_gives_up_in_time_and_says_what_is_lost() -> None:
    sink = Sink()
    sink.fail = away
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(2), recording(sink, flush_patience=0.05) as recorder:
            put(recorder, a_record())
            put(recorder, a_record())
    lost = [line for line in logs if line["log_level"] == "error"]
    assert [line["records"] for line in lost] == [2]


async def test_a_record_that_is_refused_is_logged_and_keeps_back_no_other() -> None:
    bad, sink = a_record(resource="bad"), Sink()
    sink.fail = lambda records: InvalidArgument("no") if bad in records else None
    good = [a_record() for _ in range(3)]
    with structlog.testing.capture_logs() as logs:
        async with recording(sink) as recorder:
            for each in (good[0], bad, *good[1:]):
                put(recorder, each)
    assert sink.stored == good
    (refused,) = (line for line in logs if line["log_level"] == "error")
    assert (refused["record"]["id"], refused["record"]["resource"]) == (bad.id, "bad")


def test_a_record_keeps_within_the_bounds_of_the_log() -> None:
    record = a_record(resource="x" * 300, actor="y" * 300, request_id="a\0b")
    assert (len(record.resource), len(record.actor), record.request_id) == (256, 300, "ab")
