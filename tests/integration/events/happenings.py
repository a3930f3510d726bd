"""Events to append in tests, and a publisher that remembers what it was handed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.errors import DomainError, Unavailable
from meshkit.events import outbox
from meshkit.events.outbox import Event
from meshkit.events.relay import Relay
from meshkit.ids import uuid7

POISON = b"poison"


class Died(BaseException):
    """Ends what runs with nothing tidied up, as kill -9 would."""


class Publisher:
    """Remembers what it was handed; can be away, slow, choosy, or die after it."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.batches: list[int] = []
        self.refusal: Exception | None = None
        self.away = False
        self.dies = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, events: Sequence[Event]) -> None:
        self.batches.append(len(events))
        if self.away:
            raise Unavailable("away")
        if self.refusal is not None and any(each.payload == POISON for each in events):
            raise self.refusal
        self.published += events
        await self.open.wait()
        if self.dies:
            raise Died

    @property
    def payloads(self) -> list[bytes]:
        """What was published, in order."""
        return [each.payload for each in self.published]

    def first_arrivals(self, key: str) -> list[bytes]:
        """Return what was published of a key, in order and without repeats."""
        return list(dict.fromkeys(each.payload for each in self.published if each.key == key))


def event(payload: bytes = b"\0\xff", key: str = "task-1") -> Event:
    """Make an event."""
    return Event(uuid7(), "mesh.test.Happened", "acme", key, payload)


async def append(database: Database, *events: Event) -> None:
    """Append events in a transaction of their own."""
    await database.transaction(lambda tx: outbox.append(tx, events))


async def scalar(database: Database, statement: str) -> int:
    """Return the number that a statement answers."""

    async def work(tx: AsyncConnection) -> int:
        return int((await tx.execute(text(statement))).scalar_one())

    return await database.transaction(work)


async def waiting(database: Database) -> int:
    """Count the events that are in the outbox."""
    return await scalar(database, "SELECT count(*) FROM outbox")


async def end_the_holder(database: Database) -> bool:
    """End the session that holds the relay's lock; tell whether there was one."""
    ended = await scalar(
        database,
        """
        SELECT count(pg_terminate_backend(pid)) FROM pg_locks
        WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """,
    )
    return ended > 0


async def raw(database: Database) -> asyncpg.Connection:
    """Open a connection of asyncpg; close it."""
    return await asyncpg.connect(
        database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    )


@asynccontextmanager
async def running(*parts: Relay | Notifications) -> AsyncIterator[None]:
    """Run parts for the while."""
    tasks = [asyncio.create_task(each.run()) for each in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, DomainError):
                await task
