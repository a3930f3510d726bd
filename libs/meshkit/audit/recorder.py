"""Takes records down at once and stores them soon, off the path of the call."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import asdict
from typing import Final, Protocol

import structlog

from meshkit.audit.record import Record
from meshkit.errors import InvalidArgument, Unavailable
from meshkit.settings import AuditSettings

log = structlog.get_logger()

BATCH: Final = 500
"""Most records that a sink is given at once."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Sink(Protocol):
    """Where records are stored for good."""

    async def store(self, records: Sequence[Record]) -> None:
        """Store up to `BATCH` records, those with a known id not again; raise if it failed."""
        ...


class Recorder:
    """Holds records in memory until its sink has stored them.

    A record is sent within `flush_interval` (0.2 s) of being taken down, and again, with
    growing pauses and for ever, until it is stored; a clean stop stores what is left, and takes
    at most `flush_patience` for it. A crash (kill -9) loses the records that are not stored yet:
    while the sink answers, those younger than the flush interval and one call of the sink; while
    it is away, those since it went away, up to `buffer`.

    At most `buffer` records are held. Whoever is about to decide something reserves a place
    first, and is refused if there is none: rather no decision than one that isn't on record.
    """

    def __init__(self, sink: Sink, *, service: str, settings: AuditSettings | None = None) -> None:
        self.service = service
        self._sink = sink
        self._settings = settings or AuditSettings()
        self._waiting: deque[Record] = deque()
        self._reserved = 0
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def held(self) -> int:
        """How many records are not stored yet."""
        return len(self._waiting)

    def reserve(self) -> None:
        """Keep a place for a record; `record` takes it up, `release` gives it back.

        Raises:
            Unavailable: There is none.
        """
        if len(self._waiting) + self._reserved >= self._settings.buffer:
            raise Unavailable(
                "This can't be put on record now, so it is not done: the audit log is away."
                " Try again.",
                reason="AUDIT_LOG_FULL",
                retry_after=1.0,
            )
        self._reserved += 1

    def release(self) -> None:
        """Give a reserved place back."""
        self._reserved -= 1

    def record(self, record: Record) -> None:
        """Take a record down, in a reserved place."""
        self._reserved -= 1
        self._waiting.append(record)
        self._arrived.set()

    def start(self) -> None:
        """Begin to store records."""
        # In a context of its own: whoever starts it may be serving a call.
        self._running = asyncio.create_task(self._run(), context=Context())

    async def stop(self) -> None:
        """Store what is left and end, within `flush_patience`; say so if records were lost."""
        if self._running is None:
            return
        self._stopping.set()
        self._arrived.set()
        await asyncio.wait([self._running], timeout=self._settings.flush_patience)
        self._running.cancel()
        await asyncio.wait([self._running])
        if self._waiting:
            log.error("audit records are lost: the log is away", records=len(self._waiting))

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._unless_stopping(self._settings.flush_interval)
            while self._waiting:
                batch = list(itertools.islice(self._waiting, BATCH))
                await self._store(batch)
                for _ in batch:
                    self._waiting.popleft()
            self._arrived.clear()
            if self._stopping.is_set():
                return

    async def _store(self, batch: Sequence[Record]) -> None:
        """Store a batch, after however many attempts."""
        for attempt in itertools.count():
            try:
                await self._sink.store(batch)
            except InvalidArgument as error:
                await self._store_what_is_right(batch, error)
            except Exception as error:  # noqa: BLE001 - whatever it was, the records are still there
                log.warning("audit records wait", records=self.held, cause=repr(error))
                await self._pause(attempt)
                continue
            return

    async def _store_what_is_right(self, batch: Sequence[Record], error: InvalidArgument) -> None:
        """Keep a record that the log will never take from keeping back all others."""
        if len(batch) == 1:
            log.error("audit record refused", cause=str(error), record=asdict(batch[0]))
            return
        for each in batch:
            await self._store([each])

    async def _pause(self, attempt: int) -> None:
        longest = min(_FIRST_PAUSE * 2 ** min(attempt, 10), _LONGEST_PAUSE)
        if self._stopping.is_set():
            await asyncio.sleep(_FIRST_PAUSE)
        else:
            await self._unless_stopping(random.uniform(longest / 2, longest))  # noqa: S311 - jitter

    async def _unless_stopping(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
