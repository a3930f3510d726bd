"""The lock by which one supervisor at a time owns a data directory."""

import fcntl
import os
import time
from pathlib import Path

from agentmesh.stack.errors import StackError

# Long enough for the look that `agentmesh status` takes at the lock.
ACQUIRE_SECONDS = 1.0
RETRY_SECONDS = 0.05


class SupervisorLock:
    """Hold a data directory until this process ends, however it ends.

    The kernel drops the lock with the process, so a lock is never stale; the pid in the file
    only says whom to signal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock and write our pid; raise StackError if another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock_within(descriptor, ACQUIRE_SECONDS):
            os.close(descriptor)
            raise StackError(
                f"a mesh is running in {self._path.parent} already (pid {self._read_pid()})",
                "look at it with: agentmesh status; stop it with: agentmesh down; or start "
                "another one with --data-dir and --port",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; do nothing if it isn't held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """Return the pid of the process that holds the lock, or None if nobody does.

        Raises PermissionError when the data directory is closed to this user.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if _try(descriptor, fcntl.LOCK_SH):
                return None
            return self._read_pid()
        finally:
            os.close(descriptor)

    def _read_pid(self) -> int | None:
        text = self._path.read_text(errors="replace").strip()
        return int(text) if text.isdigit() else None


def _lock_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(RETRY_SECONDS)
    return True


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
