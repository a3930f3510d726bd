"""The log file of one process: appended to over restarts, and quoted when it fails."""

from pathlib import Path
from typing import BinaryIO

ROTATE_ABOVE_BYTES = 10 * 1024 * 1024
TAIL_READS_BYTES = 64 * 1024


class LogFile:
    """Append the output of one process to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run_begins_at = 0

    def rotate(self) -> None:
        """Move a file of more than 10 MB aside, in place of the one moved aside before."""
        if self.path.exists() and self.path.stat().st_size > ROTATE_ABOVE_BYTES:
            self.path.replace(self.path.with_name(self.path.name + ".1"))

    def open_for_run(self) -> BinaryIO:
        """Open the file for the output of a new run of the process."""
        file = self.path.open("ab")
        self.path.chmod(0o600)
        self._run_begins_at = file.tell()
        return file

    def tail(self, lines: int = 10) -> list[str]:
        """Return the last lines that the latest run wrote, oldest first."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(self._run_begins_at, end - TAIL_READS_BYTES))
            text = file.read().decode(errors="replace")
        return text.splitlines()[-lines:]
