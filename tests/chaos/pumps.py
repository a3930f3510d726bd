"""What carries the bytes of a proxy's connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

CHUNK: Final = 1 << 16

Ends = tuple[asyncio.StreamWriter, asyncio.StreamWriter]
"""Both sides of a connection through a proxy, to be closed together."""


class Pumps:
    """The pumps of a proxy, each in a task of its own."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, pump: Coroutine[Any, Any, None]) -> None:
        """Have a pump carry until its connection ends."""
        task = asyncio.create_task(pump)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, ends: Ends) -> None:
    """Carry bytes until one side ends; then close both."""
    try:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                sink.write(data)
                await sink.drain()
    finally:
        for end in ends:
            end.close()
