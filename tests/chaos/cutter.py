"""A proxy before PostgreSQL that can cut connections at the worst moment.

That is after it has passed a COMMIT on and before it has passed on the answer: the
transaction is done, and who asked for it can't know.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.pumps import CHUNK, Ends, Pumps, carry

_COMMIT = b"COMMIT;\x00"


class CommitCutter:
    """Listens in a directory as PostgreSQL does, and carries bytes to the real one."""

    def __init__(self, directory: Path, upstream: Path) -> None:
        self._path = directory / upstream.name
        self._upstream = upstream
        self._cuts = 0
        self._pumps = Pumps()
        self.cut = 0

    async def __aenter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._connect, self._path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        await self._pumps.stop()
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - a socket

    def cut_next(self, commits: int = 1) -> None:
        """Cut the connections of the next so many COMMITs."""
        self._cuts = commits

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, back)
        self._pumps.start(self._up(reader, back, ends))
        self._pumps.start(carry(there, writer, ends))

    async def _up(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: Ends,
    ) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                cuts = self._cuts > 0 and _COMMIT in data
                if cuts:
                    # Before the bytes go, so that no answer can slip through.
                    self._cuts -= 1
                    self.cut += 1
                    ends[0].transport.abort()
                sink.write(data)
                await sink.drain()
                if cuts:
                    break
        ends[1].close()
