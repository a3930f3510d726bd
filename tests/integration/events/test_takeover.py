"""Of several relays one works at a time, and another takes over when it is gone."""

from __future__ import annotations

import asyncio

import pytest

from meshkit.database.engine import Database
from meshkit.events import leadership, relay
from meshkit.events.relay import Relay
from tests.integration.events.happenings import (
    Publisher,
    append,
    end_the_holder,
    event,
    running,
    waiting,
)
from tests.waiting import until, until_true

KEYS = [f"task-{number}" for number in range(6)]
EACH = 40


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "_ASK_SECONDS", 0.005)
    monkeypatch.setattr(relay, "_RECONNECT_SECONDS", 0.005)
    monkeypatch.setattr(relay, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(relay, "_GATHER_SECONDS", 0.001)


async def test_one_works_at_a_time_and_the_next_follows_when_it_stops(
    database: Database,
) -> None:
    first, second = Publisher(), Publisher()
    async with running(Relay(database, second)):
        async with running(Relay(database, first)):
            for number in range(20):
                await append(database, event(bytes([number])))
                await until(lambda: len(first.published + second.published) == number + 1)  # noqa: B023 - awaited at once
            assert [] in (first.published, second.published)
        await append(database, event(b"last"))
        await until(lambda: b"last" in second.payloads)


async def test_another_takes_over_from_one_whose_connection_is_lost_while_it_publishes(
    database: Database,
) -> None:
    relays = {name: Publisher() for name in "ab"}
    for publisher in relays.values():
        publisher.open.clear()
    await append(database, event(b"1"))
    async with running(*(Relay(database, each) for each in relays.values())):
        await until(lambda: any(each.published for each in relays.values()))
        holder, other = sorted(relays.values(), key=lambda each: not each.published)
        assert await end_the_holder(database)
        await until(lambda: other.payloads == [b"1"])

        await append(database, event(b"2"))
        holder.open.set()
        other.open.set()
        await until(lambda: b"2" in holder.payloads + other.payloads)
        await until_true(lambda: empty(database))
    assert holder.first_arrivals("task-1") + other.first_arrivals("task-1") in (
        [b"1", b"1", b"2"],
        [b"1", b"2", b"1"],
    )


async def empty(database: Database) -> bool:
    return await waiting(database) == 0


async def test_each_key_stays_in_order_while_holders_lose_their_connections(
    database: Database,
) -> None:
    publisher = Publisher()

    async def announce(key: str) -> None:
        for number in range(EACH):
            await append(database, event(f"{number}".encode(), key))

    async with running(*(Relay(database, publisher) for _ in range(3))):
        announcing = asyncio.gather(*(announce(key) for key in KEYS))
        for share in range(1, 8):
            target = len(KEYS) * EACH * share // 8
            await until(lambda: len({each.id for each in publisher.published}) >= target)  # noqa: B023 - awaited at once
            await end_the_holder(database)
        await announcing
        await until_true(lambda: empty(database))

    wanted = [f"{number}".encode() for number in range(EACH)]
    assert {key: publisher.first_arrivals(key) for key in KEYS} == dict.fromkeys(KEYS, wanted)
