"""Watches that break and go on without a gap."""

from __future__ import annotations

import asyncio

from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.sdk.fuse import Fuse
from tests.integration.sdk.parts import client_of, url_of
from tests.integration.task.agents import register
from tests.integration.task.conftest import open_channel
from tests.waiting import until


async def test_what_happens_before_the_first_event_is_seen_is_not_missed(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    async with open_channel(small_mesh, tokens, "acme") as channel:
        await register(channel, "known", ["text.count"])
    async with (
        Fuse(small_mesh.port) as fuse,
        client_of(fuse.url, tokens) as watcher,
        client_of(url_of(small_mesh), tokens) as client,
        asyncio.timeout(30),
    ):
        watching = watcher.watch_tasks()
        first = asyncio.ensure_future(anext(watching))
        await until(lambda: bool(small_mesh.task.feed._active))
        # Until the watcher knows that its watch has begun.
        await watcher.count_tasks()
        fuse.blow()
        await until(lambda: not small_mesh.task.feed._active)
        tasks = [await client.create_task("text.count") for _ in range(3)]
        events = [await first, await anext(watching), await anext(watching)]
        await watching.aclose()
    assert [event.task.id for event in events] == [task.id for task in tasks]
