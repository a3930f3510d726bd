"""What is written to the outbox, and what its reader sees of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.events import outbox
from meshkit.events.outbox import Event
from meshkit.events.reader import Reader
from tests.integration.events.happenings import append, event, raw, waiting
from tests.waiting import until, until_true

Append = Callable[[Database, Sequence[Event], bool], Awaitable[None]]


async def with_sqlalchemy(database: Database, events: Sequence[Event], fail: bool) -> None:
    async def work(tx: AsyncConnection) -> None:
        await outbox.append(tx, events)
        if fail:
            raise LookupError

    await database.transaction(work)


async def with_asyncpg(database: Database, events: Sequence[Event], fail: bool) -> None:
    connection = await raw(database)
    try:
        async with connection.transaction():
            await outbox.append_raw(connection, events)
            if fail:
                raise LookupError
    finally:
        await connection.close()


async def settle(database: Database, reader: Reader) -> None:
    """Have a reader pass enough events for its floor to rise as far as it may."""
    for _ in range(4):
        await append(database, event(key="another"))
        await reader.remove(await reader.read(10))


@pytest.mark.parametrize("write", [with_sqlalchemy, with_asyncpg])
async def test_events_are_there_in_order_if_their_transaction_commits_and_only_then(
    database: Database, connection: asyncpg.Connection, write: Append
) -> None:
    reader = Reader(connection)
    events = [event(bytes([number]), f"key-{number}") for number in range(50)]
    with pytest.raises(LookupError):
        await write(database, events[::-1], True)
    assert await reader.read(100) == []

    await write(database, [], False)
    await write(database, events, False)
    assert [each.event for each in await reader.read(100)] == events


async def test_a_transaction_notifies_once(
    database: Database, connection: asyncpg.Connection
) -> None:
    heard: list[str] = []
    for channel in (outbox.APPENDED, "done"):
        await connection.add_listener(channel, lambda *sent: heard.append(sent[2]))

    async def work(tx: AsyncConnection) -> None:
        await outbox.append(tx, [event() for _ in range(30)])
        await outbox.append(tx, [event()])

    await database.transaction(work)
    await connection.execute("SELECT pg_notify('done', '')")
    await until(lambda: "done" in heard)
    assert heard == [outbox.APPENDED, "done"]


async def test_a_read_is_bounded_and_takes_nothing_away(
    database: Database, connection: asyncpg.Connection
) -> None:
    reader = Reader(connection)
    await append(database, *(event(bytes([number])) for number in range(5)))
    assert [each.event.payload[0] for each in await reader.read(3)] == [0, 1, 2]

    first = await reader.read(3)
    await reader.remove(first)
    assert [each.event.payload[0] for each in await reader.read(3)] == [3, 4]


async def test_one_that_commits_late_is_read_before_what_follows_it(
    database: Database, connection: asyncpg.Connection
) -> None:
    # The one below it in the outbox belongs to the older transaction: ids prove nothing here.
    older, late = await raw(database), await raw(database)
    await older.execute("BEGIN")
    await older.execute("SELECT pg_current_xact_id()")
    await late.execute("BEGIN")
    await outbox.append_raw(late, [event(b"1")])
    await outbox.append_raw(older, [event(key="another")])
    await older.execute("COMMIT")
    reader = Reader(connection)
    await reader.remove(await reader.read(10))
    await settle(database, reader)

    await late.execute("COMMIT")
    await append(database, event(b"2"))
    # Again and again, as when the publisher is away.
    for _ in range(3):
        assert [each.event.payload for each in await reader.read(10)] == [b"1", b"2"]
    await older.close()
    await late.close()


async def test_one_that_commits_between_a_read_and_its_removal_stays(
    database: Database, connection: asyncpg.Connection
) -> None:
    late = await raw(database)
    await late.execute("BEGIN")
    await append(database, event(b"1"))
    await outbox.append_raw(late, [event(b"2")])
    await append(database, event(b"3"))
    reader = Reader(connection)
    read = await reader.read(10)

    await late.execute("COMMIT")
    await reader.remove(read)
    assert [each.event.payload for each in read] == [b"1", b"3"]
    assert [each.event.payload for each in await reader.read(10)] == [b"2"]
    await late.close()


async def test_one_of_a_transaction_that_had_written_nothing_before_is_not_lost_either(
    database: Database, connection: asyncpg.Connection
) -> None:
    late = await raw(database)
    reader = Reader(connection)
    await append(database, event(key="another"))
    await late.execute("BEGIN")
    await late.execute("SAVEPOINT inner_part")
    await outbox.append_raw(late, [event(b"1")])
    await late.execute("RELEASE inner_part")
    await settle(database, reader)

    await late.execute("COMMIT")
    assert [each.event.payload for each in await reader.read(10)] == [b"1"]
    await late.close()


async def test_reads_begin_above_what_is_gone_for_good(
    database: Database, connection: asyncpg.Connection
) -> None:
    reader = Reader(connection)
    await append(database, event(key="another"))
    await reader.remove(await reader.read(10))

    async def passed() -> bool:
        await settle(database, reader)
        await connection.execute(
            """
            INSERT INTO outbox (position, id, type, tenant, key, payload)
            OVERRIDING SYSTEM VALUE VALUES (1, gen_random_uuid(), '', '', 'by hand', '')
            """
        )
        seen = await reader.read(10)
        await connection.execute("DELETE FROM outbox WHERE position = 1 AND $1", bool(seen))
        return not seen

    # Any transaction in the whole cluster may hold the floor down for a while.
    await until_true(passed)
    reader.look_back()
    assert [each.event.key for each in await reader.read(10)] == ["by hand"]


async def test_one_that_is_buried_keeps_what_it_was(
    database: Database, connection: asyncpg.Connection
) -> None:
    reader = Reader(connection)
    await append(database, event(b"1"), event(b"2"))
    entry = (await reader.read(1))[0]
    await reader.bury(entry, "NUL \0 and " + "more" * 1000)

    assert await waiting(database) == 1
    dead = await connection.fetchrow("SELECT * FROM outbox_dead")
    assert (dead["id"], dead["payload"], dead["key"]) == (entry.event.id, b"1", "task-1")
    assert dead["failure"].startswith("NUL � and more")
    assert len(dead["failure"]) == 2000
