"""Run a mesh in this process until a signal ends it."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rich.text import Text

from agentmesh.cli.console import out
from agentmesh.cli.progress import Progress
from agentmesh.cli.welcome import welcome
from agentmesh.stack.stack import Stack

FORCED_EXIT = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Count the signals that ask this process to end: the first drains, the second forces."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in SIGNALS:
            # nohup ignores a hang-up, and so does what it runs.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        if self.first.is_set():
            self.second.set()
        self.first.set()


async def run_in_foreground(data_directory: Path, *, host: str, port: int, quiet: bool) -> int:
    """Start a mesh, keep it until a signal, drain it; return the exit code.

    `quiet` leaves out the welcome, with its key. Raises StackError if the mesh can't start.
    """
    interruption = Interruption()
    interruption.listen()
    progress = Progress(out)
    stack = Stack(data_directory, host=host, port=port, reporter=progress)
    try:
        if await _finishes(stack.start(), interruption.first):
            if not quiet:
                out.print(_welcome(stack, data_directory))
            await _finishes(stack.wait(), interruption.first)
    finally:
        drained = await _end(stack, interruption)
        progress.close()
    return 0 if drained else FORCED_EXIT


def _welcome(stack: Stack, data_directory: Path) -> Text:
    return welcome(
        url=stack.url,
        admin_key_path=stack.admin_key_path,
        new_admin_key=stack.admin_key if stack.first_start else None,
        data_directory=data_directory,
        detached=False,
    )


async def _end(stack: Stack, interruption: Interruption) -> bool:
    if interruption.first.is_set():
        out.print("draining; Ctrl-C again ends it at once")
    if await _finishes(stack.stop(), interruption.second):
        return True
    out.print("ended at once; the next start recovers what was under way")
    await stack.kill()
    return False


async def _finishes(work: Coroutine[Any, Any, None], cut_short: asyncio.Event) -> bool:
    """Do the work, or cancel it at the event; return whether it was done."""
    task = asyncio.create_task(work)
    interrupted = asyncio.create_task(cut_short.wait())
    await asyncio.wait({task, interrupted}, return_when=asyncio.FIRST_COMPLETED)
    interrupted.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait({task})
    return False
