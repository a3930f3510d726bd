"""A small disk of its own for PostgreSQL, which can be filled to the last byte.

A file system in memory, mounted for the run; that takes the right to mount. A quota would
need the same right and more, and a limit of the size of files (RLIMIT_FSIZE) gives
another error (EFBIG), at the end of each file and not of all of them together.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PIECES: Final = (1 << 26, 1 << 20, 1 << 12)


class SmallDisk:
    """A file system of so many bytes at a directory.

    Attributes:
        why_not: Why there is none; empty if there is one.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.why_not = "it was not asked for"
        self._size = size
        self._ballast = directory / "ballast"

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = f"size={self._size},mode=0755"
        self.why_not = _call("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.directory))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.why_not:
            # At once for whoever looks, in truth once the last who uses it has gone.
            _call("umount", "--lazy", str(self.directory))

    def fill(self) -> int:
        """Take all the room that is left; return how many bytes that was."""
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY, 0o600)
        taken = 0
        try:
            for piece in _PIECES:
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(descriptor, taken, piece)
                        taken += piece
        finally:
            os.close(descriptor)
        return taken

    def make_room(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink(missing_ok=True)


def _call(program: str, *arguments: str) -> str:
    """Run a program that takes a moment; return why it failed, or nothing."""
    path = shutil.which(program)
    if path is None:
        return f"there is no {program}"
    called = subprocess.run((path, *arguments), capture_output=True, text=True, check=False)
    return called.stderr.strip() if called.returncode else ""
