"""Ties a child process to this one, so that it can't outlive even a kill -9."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
# Reads until this process is gone, then ends the child that is its first argument.
WATCH = 'cat >/dev/null; kill -KILL "$1" 2>/dev/null'


def die_with_parent() -> Callable[[], None] | None:
    """Give what a child must run before exec to be killed when this process ends.

    None where the kernel can't; there, `watch_from` does it.
    """
    if sys.platform != "linux":
        return None
    # Loaded here: between fork and exec only the call itself is safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)

    return arm


async def watch_from(pid: int) -> asyncio.subprocess.Process:
    """Start a watcher that kills `pid` when this process ends, by the end of a pipe.

    The watcher is to be killed first when the child is stopped in order.
    """
    return await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        WATCH,
        "lifeline",
        str(pid),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
