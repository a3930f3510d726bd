"""A proxy before PostgreSQL that lets a commit through and loses the answer to it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
    _carried: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to carry a connection."""
        task = asyncio.create_task(self._carry(reader, writer))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def cut(self) -> None:
        """End all connections."""
        carried = list(self._carried)
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            there, back = await asyncio.open_unix_connection(str(self.server))
            writers.append(back)
            losing = asyncio.Event()
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._up(reader, back, losing))
                pumps.create_task(self._down(there, writer, losing))
        except* OSError:
            pass
        finally:
            # None is left to be found open by whichever test runs when it is collected.
            for each in writers:
                each.transport.abort()
            for each in writers:
                with suppress(OSError):
                    await each.wait_closed()

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
        server = await asyncio.start_unix_server(proxy.take, str(Path(directory) / _SOCKET))
        url = database.url.set(query={**database.url.query, "host": directory})
        secret = SecretStr(url.render_as_string(hide_password=False))
        behind = Database(DatabaseSettings(url=secret))
        try:
            yield proxy, behind
        finally:
            await behind.close()
            server.close()
            await proxy.cut()
            await server.wait_closed()
