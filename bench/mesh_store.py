"""A real mesh: `agentmesh up` in a process of its own, on any free ports."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentmesh.client import Client
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.secrets import SecretFiles
from agentmesh.stack.state import MeshState, read_state

COMMAND = (sys.executable, "-P", "-m", "agentmesh.cli", "up", "--quiet", "--port", "0")
START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.1

# A server refuses streams beyond its limit for a connection; the benchmark's producer has
# 128 creations at a time on one.
SETTINGS = {"AGENTMESH_GRPC__MAX_CONCURRENT_STREAMS": "1000"}


class MeshStore:
    """All services with their real checks of keys, PostgreSQL and Envoy, as users run them.

    Attributes:
        admin_key: The admin's API key, while it runs.
        agent_key: A key with the role `agent`, while it runs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = DataDirectory(directory)
        self.admin_key = ""
        self.agent_key = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run the mesh; its tasks stay in its data directory from one run to the next."""
        self._directory.path.mkdir(parents=True, exist_ok=True)
        log = self._directory.path.with_suffix(".log")
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                *("--data-dir", str(self._directory.path)),
                env=SETTINGS | os.environ,
                stdout=output,
                stderr=output,
            )
            try:
                await self._ready(process, log)
                await self._make_keys()
                yield "agentmesh: all services, Envoy and PostgreSQL of `agentmesh up`"
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), STOP_SECONDS)

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[dict[str, str]]:
        """Give what finds the mesh: earlier tasks stay, as they do with users."""
        yield {
            "gateway": self.state().url,
            "task": self.address("task"),
            "registry": self.address("registry"),
            "admin_key": self.admin_key,
            "agent_key": self.agent_key,
        }

    def state(self) -> MeshState:
        """Return what the supervisor says of its processes."""
        state = read_state(self._directory.state)
        assert state, "the mesh isn't up"
        return state

    def address(self, service: str) -> str:
        """Return the `host:port` of a service."""
        return next(each.address for each in self.state().processes if each.name == service)

    def pid(self, service: str) -> int | None:
        """Return the process id of a service; None while it is down."""
        return next(each.pid for each in self.state().processes if each.name == service)

    def postgres(self) -> EmbeddedPostgres:
        """Return the database server, to connect to."""
        return EmbeddedPostgres(self._directory.postgres)

    async def _ready(self, process: asyncio.subprocess.Process, log: Path) -> None:
        async with asyncio.timeout(START_SECONDS):
            while not ((state := read_state(self._directory.state)) and state.ready):
                assert process.returncode is None, f"the mesh did not start: see {log}"
                await asyncio.sleep(POLL_SECONDS)

    async def _make_keys(self) -> None:
        self.admin_key = SecretFiles(self._directory.secrets).read("admin") or ""
        async with Client(self.state().url, self.admin_key) as client:
            key = await client.create_api_key(f"bench {os.getpid()}", ["agent"])
        self.agent_key = key.secret
