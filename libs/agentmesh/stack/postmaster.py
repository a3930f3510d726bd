"""A PostgreSQL server that an earlier run left behind, found by its postmaster.pid."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import psutil

from agentmesh.stack.errors import StackError

FAST_SHUTDOWN = signal.SIGINT
IMMEDIATE_SHUTDOWN = signal.SIGQUIT
POLL_SECONDS = 0.05


def find_survivor(directory: Path) -> psutil.Process | None:
    """Return the server that runs on a data directory, whoever started it.

    A number in postmaster.pid is not enough: after a reboot it may be another program's. A
    server works in its data directory, and that tells them apart.
    """
    pid = _read_pid(directory)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        if Path(process.cwd()) == directory.resolve():
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return None


async def stop_survivor(directory: Path, within: float) -> bool:
    """Shut down a server left behind and forget its pid file; return whether there was one.

    Raises StackError if it doesn't end within `within` seconds. The caller holds whatever
    lock keeps two servers from being started on one directory.
    """
    survivor = find_survivor(directory)
    if survivor is not None:
        await _stop(survivor, within)
    # Left by kill -9, half-written or naming a process that is another by now: PostgreSQL
    # would refuse to start over it.
    (directory / "postmaster.pid").unlink(missing_ok=True)
    return survivor is not None


async def _stop(server: psutil.Process, within: float) -> None:
    for shutdown in (FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN):
        with contextlib.suppress(psutil.NoSuchProcess):
            server.send_signal(shutdown)
        if await _ends_within(server, within):
            return
    raise StackError(
        f"a PostgreSQL of an earlier run (pid {server.pid}) does not stop",
        f"end it with: kill -9 {server.pid}",
    )


def _read_pid(directory: Path) -> int | None:
    try:
        first_line = (directory / "postmaster.pid").read_text(errors="replace").split("\n", 1)[0]
    except OSError:
        return None
    return int(first_line) if first_line.strip().isdigit() else None


async def _ends_within(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not _is_alive(process):
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
