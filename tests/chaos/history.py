"""What clients and agents saw, a JSON object a line; written before anything else goes on.

Each process appends to a file of its own with one write a line, so that a line is
there whole or not at all when the process is killed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class History:
    """Appends what happened."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def add(self, **happened: Any) -> None:
        """Append one line."""
        os.write(self._file, (json.dumps(happened) + "\n").encode())

    def operation(self, id_: str, op: str, start: float, result: str, **more: Any) -> None:
        """Append an operation: `result` is "ok", "refused" or "unknown"."""
        self.add(id=id_, op=op, start=start, end=time.time(), result=result, **more)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a history holds, without a last line that was cut off."""
    if not path.exists():
        return
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def read_all(directory: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield what all histories of a kind hold."""
    for path in sorted(directory.glob(f"{kind}-*.jsonl")):
        yield from read(path)


class Tail:
    """Counts the tasks that clients had acknowledged, as their histories grow."""

    def __init__(self, directory: Path, kind: str) -> None:
        self._directory = directory
        self._kind = kind
        self._read: dict[Path, int] = {}
        self._count = 0

    def acknowledged(self) -> int:
        """Return how many there are by now."""
        for path in self._directory.glob(f"{self._kind}-*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            self._count += sum(len(json.loads(line)["ids"]) for line in whole.splitlines())
        return self._count
