"""Notifications, the outbox, and the relay between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.errors import Unavailable
from meshkit.events import outbox
from meshkit.events.outbox import Event
from meshkit.events.relay import Relay
from meshkit.ids import uuid7
from meshkit.testing.databases import ServiceDatabase
from tests.waiting import until

LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


class Died(BaseException):
    """Ends what runs with nothing tidied up, as kill -9 would."""


class Publisher:
    """Remembers what it was handed; can be away, slow, or die after it."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.away = False
        self.dies = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, events: Sequence[Event]) -> None:
        if self.away:
            raise Unavailable("away")
        self.published += events
        await self.open.wait()
        if self.dies:
            raise Died


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("task")


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


def event(payload: bytes = b"\0\xff") -> Event:
    return Event(uuid7(), "mesh.test.Happened", "acme", "task-1", payload)


async def append(database: Database, *events: Event) -> None:
    await database.transaction(lambda tx: outbox.append(tx, events))


async def scalar(database: Database, statement: str) -> int:
    async def work(tx: AsyncConnection) -> int:
        return int((await tx.execute(text(statement))).scalar_one())

    return await database.transaction(work)


async def execute(database: Database, statement: str) -> None:
    await database.transaction(lambda tx: tx.execute(text(statement)))


@asynccontextmanager
async def running(*parts: Relay | Notifications) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in parts]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_listener_hears_and_is_told_to_look_after_each_connect(
    database: Database,
) -> None:
    heard: dict[str, list[str]] = {"first": [], "second": []}
    listening = Notifications(
        database.url, {"first": heard["first"].append, "second": heard["second"].append}
    )
    async with running(listening):
        await until(lambda: heard == {"first": [""], "second": [""]})
        await execute(database, "SELECT pg_notify('first', 'a'), pg_notify('third', 'x')")
        await until(lambda: heard == {"first": ["", "a"], "second": [""]})

        assert await scalar(database, f"SELECT count(pg_terminate_backend(pid)) {LISTENERS}") == 1
        await until(lambda: heard == {"first": ["", "a", ""], "second": ["", ""]})
        await execute(database, "SELECT pg_notify('second', 'b')")
        await until(lambda: heard["second"][-1] == "b")


async def test_what_was_not_committed_is_not_published(
    database: Database, publisher: Publisher
) -> None:
    async def aborted(tx: AsyncConnection) -> None:
        await outbox.append(tx, [event()])
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.transaction(aborted)
    relay = Relay(database, publisher)
    assert await relay.publish_some() == 0

    events = [event(), event(b"")]
    await append(database, *events)
    assert await relay.publish_some() == 2
    assert await relay.publish_some() == 0
    assert publisher.published == sorted(events, key=lambda each: each.id)
    assert await scalar(database, "SELECT count(*) FROM outbox") == 0


async def test_a_crash_after_publishing_publishes_again(
    database: Database, publisher: Publisher
) -> None:
    happened = event()
    await append(database, happened)
    publisher.dies = True
    with pytest.raises(Died):
        await Relay(database, publisher).publish_some()
    publisher.dies = False

    assert await Relay(database, publisher).publish_some() == 0
    await execute(database, "UPDATE outbox SET claim_expire_time = now() - interval '1s'")
    assert await Relay(database, publisher).publish_some() == 1
    assert publisher.published == [happened, happened]


async def test_an_event_that_could_not_be_published_is_free_at_once(
    database: Database, publisher: Publisher
) -> None:
    await append(database, event())
    publisher.away = True
    with pytest.raises(Unavailable):
        await Relay(database, publisher).publish_some()
    publisher.away = False
    assert await Relay(database, publisher).publish_some() == 1


async def test_two_relays_publish_each_event_once(database: Database, publisher: Publisher) -> None:
    events = [event() for _ in range(450)]
    await append(database, *events)
    publisher.open.clear()
    relays = [asyncio.create_task(Relay(database, publisher).publish_some()) for _ in range(4)]
    await until(lambda: len(publisher.published) == 450)
    publisher.open.set()
    assert sum(await asyncio.gather(*relays)) == 450
    assert sorted(each.id for each in publisher.published) == sorted(each.id for each in events)


async def test_a_relay_wakes_for_each_event_even_while_it_publishes(
    database: Database, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.events.relay._POLL_SECONDS", 600)
    relay = Relay(database, publisher)
    heard: list[str] = []

    def wake(payload: str) -> None:
        heard.append(payload)
        relay.wake(payload)

    async with running(relay, Notifications(database.url, {outbox.APPENDED: wake})):
        await until(lambda: len(heard) == 1)
        publisher.open.clear()
        await append(database, event())
        await until(lambda: len(publisher.published) == 1)
        await append(database, event())
        await until(lambda: len(heard) == 3)
        publisher.open.set()
        await until(lambda: len(publisher.published) == 2)


async def test_a_relay_goes_on_once_its_publisher_is_back(
    database: Database, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.events.relay._BACKOFF_SECONDS", (0.001, 0.002))
    tried: list[int] = []

    async def publish(events: Sequence[Event]) -> None:
        tried.append(len(events))
        await publisher(events)

    publisher.away = True
    await append(database, event(), event())
    async with running(Relay(database, publish)):
        await until(lambda: len(tried) > 3)
        publisher.away = False
        await until(lambda: len(publisher.published) == 2)


async def test_a_relay_that_is_stopped_while_publishing_gives_its_claims_back(
    database: Database, publisher: Publisher
) -> None:
    await append(database, event())
    publisher.open.clear()
    async with running(Relay(database, publisher)):
        await until(lambda: bool(publisher.published))
    unclaimed = "SELECT count(*) FROM outbox WHERE claim_expire_time IS NULL"
    assert await scalar(database, unclaimed) == 1
