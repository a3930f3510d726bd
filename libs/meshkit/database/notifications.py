"""Hears what other sessions NOTIFY, on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy import URL

log = structlog.get_logger()

Heard = Callable[[str], None]
"""Takes the payload of a notification; an empty one means some may have been missed."""

_RETRY_SECONDS = 0.5
_LOST: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What a statement raises that is sent just as the server says goodbye.
    asyncpg.InternalClientError,
)
_PROBE_SECONDS = 10.0


class Notifications:
    """Listens on channels and reconnects by itself.

    Notifications sent while it was not connected are lost, so after each connect
    every listener is called with an empty payload: look for yourself.
    """

    def __init__(self, url: URL, listeners: Mapping[str, Heard]) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._listeners = listeners

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except _LOST as error:
                log.warning("not listening", cause=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            for channel in self._listeners:
                await connection.add_listener(channel, self._heard)
            for listener in self._listeners.values():
                listener("")
            while not await _set_within(lost, _PROBE_SECONDS):
                # A connection that fell silent looks open until it is asked.
                await connection.execute("SELECT 1", timeout=_PROBE_SECONDS)
        finally:
            connection.terminate()

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        self._listeners[channel](str(payload))


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
