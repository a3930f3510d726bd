"""The clockwork: looks at tasks and limits whose time has come."""

from __future__ import annotations

import asyncio
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

NextDue = Callable[[], Awaitable[tuple[datetime | None, datetime]]]
"""Returns when something is next due, if ever, and the time now, both by the database's clock."""


class Clockwork:
    """Wakes when something is due, by the database's clock; any number of replicas may run one.

    Looks at least every `interval` seconds, since others make things due too.
    """

    def __init__(
        self, writer: Writer, next_due: NextDue, backoff: Backoff, *, interval: float
    ) -> None:
        self._writer = writer
        self._next_due = next_due
        self._backoff = backoff
        self._interval = interval
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
            due, now = await self._next_due()
            if due is None:
                return self._interval
            if due > now:
                return min(max((due - now).total_seconds(), _SHORTEST), self._interval)
            if not await self._writer.do(LookAtDue(_AT_A_TIME, self._backoff)):
                # Another replica is at it.
                return _LOCKED_SECONDS

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
