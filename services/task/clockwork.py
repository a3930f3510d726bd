"""The clockwork: looks at tasks and limits whose time has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from meshkit.errors import DomainError
from services.task.domain.retries import Backoff
from services.task.engine.operations.due import LookAtDue
from services.task.engine.writer import Writer

log = structlog.get_logger()

_AT_A_TIME = 200
_SHORTEST = 0.005
_LOCKED_SECONDS = 0.05
# By so much less than should have passed, the database's clock was set back.
_SETBACK_SECONDS = 1.0
# Of a lease, after which whoever lives has renewed it by the clock as it is now.
_SETTLING_SHARE = 1.5

NextDue = Callable[[], Awaitable[tuple[datetime | None, datetime]]]
"""Returns when something is next due, if ever, and the time now, both by the database's clock."""

BringNear = Callable[[], Awaitable[int]]
"""Brings near what a clock that was set back has left far in the future."""


class Clockwork:
    """Wakes when something is due, by the database's clock; any number of replicas may run one.

    Looks at least every `interval` seconds, since others make things due too.
    """

    def __init__(
        self,
        writer: Writer,
        next_due: NextDue,
        backoff: Backoff,
        *,
        interval: float,
        bring_near: BringNear,
        lease: float,
    ) -> None:
        self._writer = writer
        self._next_due = next_due
        self._backoff = backoff
        self._interval = interval
        self._bring_near = bring_near
        self._settling = _SETTLING_SHARE * lease
        self._read: tuple[float, datetime] | None = None
        self._setback_at: float | None = None
        self._woken = asyncio.Event()

    def wake(self, _payload: str = "") -> None:
        """Look soon: something got a time."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._woken.clear()
            try:
                delay = await self.look()
            except DomainError as error:
                log.warning("can't look at what is due", cause=error.message)
                delay = self._interval
            await self._wait(delay)

    async def look(self) -> float:
        """Look at all that is due now; return the seconds until there may be more."""
        while True:
            due, now = await self._read_due()
            if due is None:
                return self._interval
            if due > now:
                return min(max((due - now).total_seconds(), _SHORTEST), self._interval)
            if not await self._writer.do(LookAtDue(_AT_A_TIME, self._backoff)):
                # Another replica is at it.
                return _LOCKED_SECONDS

    async def _read_due(self) -> tuple[datetime | None, datetime]:
        """Read what is due when, and have an eye on the clock that says so.

        A lease that was given by a clock that has been set back since lies so much further
        off. Whoever lives has renewed it within a lease's length, from when the writer, who
        reads the clock once a second, has seen it too; the others are cut short.
        """
        asked = time.monotonic()
        due, now = await self._next_due()
        if self._read is not None:
            read_at, time_then = self._read
            behind = asked - read_at - (now - time_then).total_seconds()
            if behind > _SETBACK_SECONDS:
                log.warning("the database's clock was set back", seconds=round(behind, 1))
                self._setback_at = asked
        self._read = time.monotonic(), now
        if self._setback_at is not None and asked - self._setback_at > self._settling:
            changed = await self._bring_near()
            self._setback_at = None
            log.warning("brought near what the clock had left behind", changed=changed)
        return due, now

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
