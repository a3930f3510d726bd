"""A proxy before PostgreSQL that lets a commit through and loses the answer to it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from meshkit.database.engine import Database
from meshkit.settings import DatabaseSettings

_SOCKET = ".s.PGSQL.5432"
_WRITER = b"agentmesh-writer"


@dataclass
class LostAnswers:
    """Carries connections to a server; loses answers to the writer's commits, as often as told."""

    server: Path
    to_lose: int = 0
    lost: int = 0
    _pumps: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        there, back = await asyncio.open_unix_connection(str(self.server))
        losing = asyncio.Event()
        for pump in (
            self._up(reader, back, losing),
            self._down(there, writer, losing),
        ):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _up(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        is_writer = False
        while data := await source.read(1 << 16):
            is_writer = is_writer or _WRITER in data
            if is_writer and self.to_lose and b"COMMIT" in data:
                self.to_lose -= 1
                losing.set()
            sink.write(data)
        sink.close()

    async def _down(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await source.read(1 << 16):
            if losing.is_set():
                # The server has answered, so it has committed.
                self.lost += 1
                break
            sink.write(data)
        sink.transport.abort()


@asynccontextmanager
async def losing_answers(database: Database) -> AsyncIterator[tuple[LostAnswers, Database]]:
    """Give the same database behind such a proxy."""
    host = database.url.query["host"]
    with tempfile.TemporaryDirectory(prefix="pg-") as directory:
        proxy = LostAnswers(Path(str(host)) / _SOCKET)
        server = await asyncio.start_unix_server(proxy.carry, str(Path(directory) / _SOCKET))
        url = database.url.set(query={**database.url.query, "host": directory})
        secret = SecretStr(url.render_as_string(hide_password=False))
        behind = Database(DatabaseSettings(url=secret))
        try:
            yield proxy, behind
        finally:
            await behind.close()
            server.close()
            await server.wait_closed()
