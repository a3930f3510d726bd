"""One address behind which the replicas are, as a cluster's service has: connections in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.chaos.pumps import Pumps, carry


class Balancer:
    """Carries each connection to one of the replicas that are taken in.

    A connection stays where it is, to its end, also when its replica is left out.
    """

    def __init__(self, host: str, port: int, replicas: Mapping[str, int]) -> None:
        self._host = host
        self._port = port
        self._ports = replicas
        self._members: list[str] = []
        self._pumps = Pumps()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, self._host, self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        await self._pumps.stop()

    def take_in(self, name: str) -> None:
        """Give new connections to a replica too."""
        if name not in self._members:
            self._members.append(name)

    def leave_out(self, name: str) -> None:
        """Give no new connections to a replica."""
        if name in self._members:
            self._members.remove(name)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._reach()
        if there is None:
            writer.transport.abort()
            return
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._pumps.start(carry(source, sink, (writer, there[1])))

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for name in list(self._members):
            # The next connection goes to the next one.
            with suppress(ValueError):
                self._members.remove(name)
                self._members.append(name)
            with suppress(OSError):
                return await asyncio.open_connection(self._host, self._ports[name])
        return None
