"""A TCP proxy whose connections can be cut, and which can be led elsewhere."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Fuse:
    """Carries bytes to a port of this machine until it blows."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.blow()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def blow(self) -> None:
        """Cut every connection; new ones are carried again."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def stall(self) -> None:
        """Carry nothing more on the connections there are, and keep them; new ones are carried."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def lead_to(self, port: int) -> None:
        """Carry new connections to another port; those that are open stay."""
        self._port = port

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, back}
        self.connections += 1
        for source, sink in ((reader, back), (there, writer)):
            pump = asyncio.create_task(_pump(source, sink, self._flowing))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, flowing: asyncio.Event
) -> None:
    try:
        while data := await source.read(1 << 16):
            await flowing.wait()
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
