"""The relay: publishes what is in the outbox, at least once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog
from prometheus_client import Counter

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.events import outbox
from meshkit.events.outbox import Event

log = structlog.get_logger()

PUBLISHED = Counter("agentmesh_outbox_published", "Events published.")
FAILURES = Counter("agentmesh_outbox_failures", "Batches of events that could not be published.")

Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Hands events on; raises a DomainError if any may not have arrived."""

_BATCH = 200
_CLAIM_SECONDS = 30.0
_POLL_SECONDS = 2.0
_BACKOFF_SECONDS = (0.2, 15.0)


class Relay:
    """Moves events from a service's outbox to a publisher.

    Several replicas may each run one. An event is removed after it was published,
    so a crash in between publishes it again. While the publisher is away the
    outbox grows, and nothing else suffers.
    """

    def __init__(self, database: Database, publish: Publish) -> None:
        self._database = database
        self._publish = publish
        self._woken = asyncio.Event()

    def wake(self, _payload: str = "") -> None:
        """Have a look soon; for a listener on `outbox.APPENDED`."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        delay = _BACKOFF_SECONDS[0]
        while True:
            # Before the look: an event appended while this one publishes must cut the wait.
            self._woken.clear()
            try:
                moved = await self.publish_some()
            except DomainError as error:
                FAILURES.inc()
                log.warning("events wait", cause=error.message, retry_in=round(delay, 2))
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                delay = min(delay * 2, _BACKOFF_SECONDS[1])
                continue
            delay = _BACKOFF_SECONDS[0]
            if moved < _BATCH:
                await self._wait()

    async def publish_some(self) -> int:
        """Publish one batch of what is waiting and return its size.

        Raises:
            DomainError: The publisher refused or is away; the events wait.
        """
        claim = lambda tx: outbox.claim(tx, most=_BATCH, seconds=_CLAIM_SECONDS)  # noqa: E731
        events = await self._database.transaction(claim)
        if not events:
            return 0
        ids = [event.id for event in events]
        try:
            await self._publish(events)
        except (DomainError, asyncio.CancelledError):
            # Otherwise they would wait for the claim to run out, a relay that stops included.
            await self._database.transaction(lambda tx: outbox.unclaim(tx, ids))
            raise
        await self._database.transaction(lambda tx: outbox.remove(tx, ids))
        PUBLISHED.inc(len(events))
        return len(events)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return
