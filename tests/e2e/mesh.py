"""A mesh that runs as a process of its own, and agents beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentmesh.client import Client
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.secrets import SecretFiles
from agentmesh.stack.state import read_state

AGENTMESH = (sys.executable, "-P", "-m", "agentmesh.cli")
START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class RunningMesh:
    """Where a mesh answers, its admin's key, and where it keeps its data."""

    url: str
    admin_key: str = field(repr=False)
    data_dir: Path

    def client(self) -> Client:
        """Return a client that calls with the admin's key."""
        return Client(self.url, self.admin_key)

    @property
    def environment(self) -> dict[str, str]:
        """What a program finds this mesh by, as admin."""
        return environment(self.url, self.admin_key)

    @asynccontextmanager
    async def agent(self, script: Path, name: str) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Run an agent's script, with a key of its own; within, the agent is online."""
        log = LogFile(self.data_dir / "logs" / f"{name}.log")
        async with self.client() as client:
            key = await client.create_api_key(f"agent {name}", ["agent"])
            with (
                log.open_for_run() as output,
                _running(
                    [sys.executable, str(script)],
                    environment(self.url, key.secret),
                    output.fileno(),
                ) as process,
            ):
                await _online(client, name, process, log)
                yield process
            await client.revoke_api_key(key.id)


@contextmanager
def running_mesh(data_dir: Path) -> Iterator[RunningMesh]:
    """Run `agentmesh up` on any free port, and drain it at the end."""
    data_dir.mkdir(parents=True)
    log = LogFile(data_dir.with_name(f"{data_dir.name}.log"))
    command = [*AGENTMESH, "up", "--quiet", "--data-dir", str(data_dir), "--port", "0"]
    with log.open_for_run() as output, _running(command, os.environ, output.fileno()) as process:
        url = _up(DataDirectory(data_dir), process, log)
        admin_key = SecretFiles(DataDirectory(data_dir).secrets).read("admin")
        assert admin_key
        yield RunningMesh(url, admin_key, data_dir)


def environment(url: str, api_key: str) -> dict[str, str]:
    """Return this process's environment with a mesh to find in it."""
    return os.environ | {"AGENTMESH_URL": url, "AGENTMESH_API_KEY": api_key}


@contextmanager
def _running(
    command: list[str], env: Mapping[str, str], output: int
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _up(directory: DataDirectory, process: subprocess.Popen[bytes], log: LogFile) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        state = read_state(directory.state)
        if state and state.ready:
            return state.url
        time.sleep(POLL_SECONDS)
    raise AssertionError("the mesh isn't up:\n" + "\n".join(log.tail(30)))


async def _online(
    client: Client, name: str, process: subprocess.Popen[bytes], log: LogFile
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if await client.list_agents(f'name = "{name}" AND state = ONLINE'):
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"{name} isn't online:\n" + "\n".join(log.tail(30)))
