"""What a transaction tells every replica: all of it, whatever it is."""

from __future__ import annotations

import asyncio

import asyncpg

from services.task.store import writing
from tests.integration.replicas import Stores

NOTICES = [("task_queued", "1"), ("lease_lost", "2"), ("task_changed", "3"), ("task_changed", "4")]


async def test_every_notice_of_a_transaction_is_sent(stores: Stores) -> None:
    dsn = stores.task.url.set(drivername="postgresql").render_as_string(hide_password=False)
    listening, telling = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    for channel in {channel for channel, _ in NOTICES}:
        await listening.add_listener(
            channel, lambda _connection, _pid, *notice: heard.put_nowait(notice)
        )
    async with telling.transaction():
        xid = await writing.notify(telling, NOTICES)
        assert xid == int(await telling.fetchval("SELECT pg_current_xact_id()::xid"))
    async with asyncio.timeout(30):
        assert [await heard.get() for _ in NOTICES] == NOTICES
    await listening.close()
    await telling.close()
