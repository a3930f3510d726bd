"""The relay publishes what is there, whatever the publisher says to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from google.protobuf.message import DecodeError

from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.errors import FailedPrecondition, InvalidArgument, NotFound
from meshkit.events import outbox, relay
from meshkit.events.outbox import Event
from meshkit.events.relay import Relay
from tests.integration.events.happenings import (
    POISON,
    Died,
    Publisher,
    append,
    event,
    running,
    waiting,
)
from tests.waiting import until, until_true


async def emptied(database: Database) -> None:
    """Wait until nothing waits."""

    async def nothing_waits() -> bool:
        return await waiting(database) == 0

    await until_true(nothing_waits)


async def test_what_waits_is_published_in_order_in_batches(
    database: Database, publisher: Publisher
) -> None:
    events = [event(f"{number}".encode()) for number in range(2300)]
    await append(database, *events)
    async with running(Relay(database, publisher)):
        await emptied(database)
    assert publisher.published == events
    assert publisher.batches == [1000, 1000, 300]


async def test_a_crash_after_publishing_publishes_again(
    database: Database, publisher: Publisher
) -> None:
    happened = event()
    await append(database, happened)
    publisher.dies = True
    with pytest.raises(Died):
        await Relay(database, publisher).run()
    assert await waiting(database) == 1
    publisher.dies = False

    async with running(Relay(database, publisher)):
        await emptied(database)
    assert publisher.published == [happened, happened]


async def test_a_relay_that_is_stopped_while_publishing_loses_nothing(
    database: Database, publisher: Publisher
) -> None:
    await append(database, event())
    publisher.open.clear()
    async with running(Relay(database, publisher)):
        await until(lambda: bool(publisher.published))
    assert await waiting(database) == 1


async def test_a_relay_wakes_for_each_event_even_while_it_publishes(
    database: Database, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_POLL_SECONDS", 600)
    woken = Relay(database, publisher)
    heard: list[str] = []

    def wake(payload: str) -> None:
        heard.append(payload)
        woken.wake(payload)

    async with running(woken, Notifications(database.url, {outbox.APPENDED: wake})):
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
    monkeypatch.setattr(relay, "_BACKOFF_SECONDS", (0.001, 0.002))
    publisher.away = True
    await append(database, event(b"1"), event(b"2"))
    async with running(Relay(database, publisher)):
        await until(lambda: len(publisher.batches) > 3)
        assert await waiting(database) == 2
        publisher.away = False
        await emptied(database)
    assert publisher.payloads == [b"1", b"2"]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (InvalidArgument("It is no good."), "It is no good."),
        (NotFound("Of what?"), "Of what?"),
        (FailedPrecondition("Never."), "Never."),
        (DecodeError("bytes"), "DecodeError('bytes')"),
        (KeyError(9), "KeyError(9)"),
        (ValueError("negative"), "ValueError('negative')"),
    ],
)
async def test_one_that_is_refused_for_good_is_set_aside_and_the_others_go_on_in_order(
    database: Database,
    connection: asyncpg.Connection,
    publisher: Publisher,
    refusal: Exception,
    told: str,
) -> None:
    before = relay.DEAD._value.get()
    publisher.refusal = refusal
    good = [event(f"{number}".encode()) for number in range(40)]
    bad = [event(POISON), event(POISON)]
    await append(database, *good[:13], bad[0], *good[13:31], bad[1], *good[31:])
    async with running(Relay(database, publisher)):
        await emptied(database)

    assert publisher.published == good
    dead = await connection.fetch("SELECT id, failure FROM outbox_dead ORDER BY position")
    assert [tuple(each) for each in dead] == [(each.id, told) for each in bad]
    assert relay.DEAD._value.get() == before + 2


async def test_what_only_waits_is_not_set_aside_with_what_is_no_good(
    database: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_BACKOFF_SECONDS", (0.001, 0.002))

    class AwayForAWhile(Publisher):
        async def __call__(self, events: Sequence[Event]) -> None:
            self.away = len(self.batches) in range(2, 6)
            await super().__call__(events)

    publisher = AwayForAWhile()
    publisher.refusal = InvalidArgument("no")
    good = [event(f"{number}".encode()) for number in range(20)]
    await append(database, *good[:9], event(POISON), *good[9:])
    async with running(Relay(database, publisher)):
        await emptied(database)
    assert publisher.first_arrivals("task-1") == [each.payload for each in good]
    assert await connection.fetchval("SELECT count(*) FROM outbox_dead") == 1


async def test_a_batch_that_is_too_much_at_once_arrives_in_parts(
    database: Database, connection: asyncpg.Connection
) -> None:
    class Small(Publisher):
        async def __call__(self, events: Sequence[Event]) -> None:
            if len(events) > 30:
                raise InvalidArgument("too large", reason="REQUEST_TOO_LARGE")
            await super().__call__(events)

    publisher = Small()
    events = [event(f"{number}".encode()) for number in range(100)]
    await append(database, *events)
    async with running(Relay(database, publisher)):
        await emptied(database)
    assert publisher.published == events
    assert await connection.fetchval("SELECT count(*) FROM outbox_dead") == 0


async def test_what_nobody_foresaw_is_not_hidden(database: Database) -> None:
    async def publish(_events: Sequence[Event]) -> None:
        raise RuntimeError("a fault in the publisher")

    await append(database, event())
    with pytest.raises(RuntimeError):
        async with asyncio.timeout(30):
            await Relay(database, publish).run()
    assert await waiting(database) == 1
