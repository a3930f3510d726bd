"""The relay: publishes what is in the outbox, in order per key, at least once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from meshkit.database.engine import Database
from meshkit.errors import DomainError, Kind
from meshkit.events.leadership import LOST, leading
from meshkit.events.outbox import Event
from meshkit.events.reader import SESSION, Entry, Reader
from meshkit.failpoints import failpoint

log = structlog.get_logger()

PUBLISHED = Counter("agentmesh_outbox_published", "Events published.")
FAILURES = Counter("agentmesh_outbox_failures", "Batches of events that could not be published.")
DEAD = Counter("agentmesh_outbox_dead", "Events refused for good, which are now in outbox_dead.")

Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Hands events on, in order, and returns once they have all arrived.

Raises a DomainError if any may not have arrived. InvalidArgument, NotFound,
AlreadyExists and FailedPrecondition, and DecodeError, LookupError and ValueError from
reading an event, say that one of them is no good and never will be.
"""

_LOCK: Final = 0x6F757462  # "outb": one advisory lock a database, whoever relays
_BATCH = 1000
_GATHER_SECONDS = 0.02
_BUSY = 10
_BUSY_FACTOR = 5
_POLL_SECONDS = 2.0
_RECONNECT_SECONDS = 0.5
_BACKOFF_SECONDS = (0.2, 15.0)
_FOR_GOOD: Final = (Kind.INVALID, Kind.NOT_FOUND, Kind.EXISTS, Kind.PRECONDITION)


class Relay:
    """Moves events from a service's outbox to a publisher.

    Each replica runs one, and one of them at a time works: the holder of an advisory
    lock, which reads and removes on the session that holds it. An event is removed
    after it was published, so a crash or a change of the holder in between publishes it
    again; a holder that lost its lock while it published can only repeat what its
    successor publishes before anything later. So with repeats left out, by id, events
    of one key arrive in order; `meshkit.events.reader` has the argument.

    While the publisher is away the outbox grows, and nothing else suffers. An event
    that it refuses for good is moved to `outbox_dead`, and the others go on.
    """

    def __init__(self, database: Database, publish: Publish) -> None:
        self._url = database.url
        self._publish = publish
        self._woken = asyncio.Event()

    def wake(self, _payload: str = "") -> None:
        """Have a look soon; for a listener on `outbox.APPENDED`."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled, whenever it's this one's turn."""
        while True:
            try:
                async with leading(self._url, _LOCK, settings=SESSION) as connection:
                    await self._lead(Reader(connection))
            except LOST as error:
                log.warning("the relay has lost its database", cause=repr(error))
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _lead(self, reader: Reader) -> None:
        delay = _BACKOFF_SECONDS[0]
        while True:
            # Before the look: an event appended while this one publishes must cut the wait.
            self._woken.clear()
            entries = await reader.read(_BATCH)
            try:
                await self._deliver(reader, entries)
            except DomainError as error:
                FAILURES.inc()
                log.warning("events wait", cause=error.message, retry_in=round(delay, 2))
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                delay = min(delay * 2, _BACKOFF_SECONDS[1])
                continue
            delay = _BACKOFF_SECONDS[0]
            await self._pause(reader, len(entries))

    async def _deliver(self, reader: Reader, entries: Sequence[Entry]) -> None:
        """Publish events and remove them, halving what is refused until the culprit is alone."""
        if not entries:
            return
        try:
            await self._publish([entry.event for entry in entries])
        except (DomainError, DecodeError, LookupError, ValueError) as error:
            if isinstance(error, DomainError) and error.kind not in _FOR_GOOD:
                raise
            if len(entries) == 1:
                await _bury(reader, entries[0], error)
                return
            middle = len(entries) // 2
            await self._deliver(reader, entries[:middle])
            await self._deliver(reader, entries[middle:])
            return
        failpoint("relay.published")
        await reader.remove(entries)
        failpoint("relay.removed")
        PUBLISHED.inc(len(entries))

    async def _pause(self, reader: Reader, moved: int) -> None:
        """Go on at once if more is there, soon while busy, and else when woken."""
        if moved == _BATCH:
            return
        if moved:
            # The first event after a lull went out at once; those behind it share a batch.
            await asyncio.sleep(_GATHER_SECONDS * (_BUSY_FACTOR if moved > _BUSY else 1))
            return
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            reader.look_back()


async def _bury(reader: Reader, entry: Entry, error: Exception) -> None:
    event = entry.event
    cause = error.message if isinstance(error, DomainError) else repr(error)
    await reader.bury(entry, cause)
    DEAD.inc()
    log.error(
        "an event is refused for good; see outbox_dead",
        cause=cause,
        event_id=str(event.id),
        type=event.type,
        tenant=event.tenant,
        key=event.key,
    )
