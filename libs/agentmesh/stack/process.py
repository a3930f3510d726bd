"""One child process: a program that is started, asked whether it is ready, and stopped."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentmesh.stack.errors import StackError
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.spawn import describe_exit, exits_within, spawn, wait_for_exit

READY_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Program:
    """Say what to run and how to tell that it is ready."""

    name: str
    address: str
    command: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]


class ChildProcess:
    """Run a program as a child with a process group of its own.

    What the child leaves running in its group goes with it, so that a gateway which was
    killed doesn't leave an Envoy on its port.
    """

    def __init__(self, program: Program, *, log: LogFile, cwd: Path) -> None:
        self.name = program.name
        self.address = program.address
        self.log = log
        self._program = program
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the pid of the running child, or None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    async def start(self, within: float = 60.0) -> None:
        """Start the child and wait, up to `within` seconds, until it is ready.

        Raises StackError, with the last lines of its log, if it ends before or takes longer.
        """
        self._kill_group()
        self._child = spawn(
            self._program.command, env=self._program.env, log=self.log, cwd=self._cwd
        )
        try:
            await self._become_ready(self._child, within)
        except BaseException:
            await self.kill()
            raise

    async def is_ready(self) -> bool:
        """Ask the child whether it is ready."""
        return await self._program.is_ready()

    async def wait(self) -> int:
        """Wait until the child has ended and return its exit code."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return await wait_for_exit(self._child)

    async def stop(self, within: float = 20.0) -> None:
        """Let the child drain, and kill it if that takes longer than `within` seconds."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            await exits_within(self._child, within)
        await self.kill()

    async def kill(self, within: float = 5.0) -> None:
        """End the child and its group at once; do nothing if nothing of it is left."""
        self._kill_group()
        if self._child is not None:
            await exits_within(self._child, within)

    async def _become_ready(self, child: subprocess.Popen[bytes], within: float) -> None:
        deadline = time.monotonic() + within
        while not await self.is_ready():
            if (code := child.poll()) is not None:
                raise self._failed(describe_exit(code))
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {within:.0f} s")
            await asyncio.sleep(READY_POLL_SECONDS)
        if (code := child.poll()) is not None:
            raise self._failed(f"{describe_exit(code)}, while another program answers for it")

    def _failed(self, what: str) -> StackError:
        lines = "".join(f"\n  {line}" for line in self.log.tail())
        return StackError(f"{self.name} {what}{lines}", f"see {self.log.path}")

    def _kill_group(self) -> None:
        if self._child is not None:
            # The group's number can't be given to others while any process is in it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
