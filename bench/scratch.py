"""Where a benchmark keeps what it makes: on the disk of the cache, whose syncs are real."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path("~/.cache/agentmesh-bench").expanduser()


@contextmanager
def scratch(cache: Path = CACHE) -> Iterator[Path]:
    """Give a directory for data, which is gone at the end."""
    cache.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="data-", dir=cache))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
