"""Stop the mesh of a data directory from another process."""

import asyncio
import contextlib
import os
import signal
import time
from enum import Enum, auto
from pathlib import Path

from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.errors import StackError
from agentmesh.stack.lock import SupervisorLock
from agentmesh.stack.orphans import end_orphans
from agentmesh.stack.postgres import EmbeddedPostgres

POLL_SECONDS = 0.1


class Outcome(Enum):
    """Say what there was to stop."""

    STOPPED = auto()
    CLEANED_UP = auto()
    NOT_RUNNING = auto()


async def shut_down(data_directory: Path, *, within: float) -> Outcome:
    """Ask the supervisor to drain and wait until everything of it is gone.

    What a killed supervisor left behind is ended too. Raises StackError if the drain takes
    longer than `within` seconds or the mesh is another user's.
    """
    directory = DataDirectory(data_directory)
    lock = SupervisorLock(directory.lock)
    if not directory.lock.exists():
        return Outcome.NOT_RUNNING
    try:
        was_running = await _drain(lock, within)
    except PermissionError:
        raise StackError(
            f"the mesh in {directory.path} is not yours to stop",
            "stop it as the user who started it",
        ) from None
    left_behind = await _clean_up(directory, lock)
    if was_running:
        return Outcome.STOPPED
    return Outcome.CLEANED_UP if left_behind else Outcome.NOT_RUNNING


async def _drain(lock: SupervisorLock, within: float) -> bool:
    supervisor = lock.holder()
    if supervisor is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + within
    while lock.holder() == supervisor:
        if time.monotonic() > deadline:
            raise StackError(
                f"the mesh (pid {supervisor}) is still draining after {within:.0f} s",
                "wait for longer with --timeout, or end it at once with: "
                f"kill -9 {supervisor}; agentmesh down",
            )
        await asyncio.sleep(POLL_SECONDS)
    return True


async def _clean_up(directory: DataDirectory, lock: SupervisorLock) -> bool:
    lock.acquire()
    try:
        orphans = await end_orphans(directory.path)
        survived = await EmbeddedPostgres(directory.postgres).stop_left_behind()
        directory.state.unlink(missing_ok=True)
    finally:
        lock.release()
    return bool(orphans) or survived
