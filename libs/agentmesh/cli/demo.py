"""`agentmesh demo`: see a mesh at work, from its start to the figures at the end."""

from __future__ import annotations

import asyncio
import sys
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated

import typer

from agentmesh.cli.console import LastingConsole
from agentmesh.cli.foreground import FORCED_EXIT, SIGNALS
from agentmesh.cli.progress import Progress
from agentmesh.errors import MeshError
from agentmesh.stack.errors import StackError
from agentmesh.stack.extra import require_extra

WIDTH_OF_A_FILE = 120


def demo(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Run on the mesh in this directory: one that runs is used and runs on, else one"
            " is started. Without this option, a mesh of its own in a temporary directory.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, help="Port of the gateway, if a mesh is started; 0 for a free one."
        ),
    ] = 0,
) -> None:
    """Start sample agents, give them tasks, and check every result and figure.

    Exits with 0 only if every task ended as it should and analytics agrees.
    """
    require_extra()
    raise typer.Exit(asyncio.run(_run(data_dir, port)))


async def _run(data_directory: Path | None, port: int) -> int:
    # Only now: this needs the extra.
    from agentmesh.demo.show import run_demo  # noqa: PLC0415

    console = LastingConsole(
        highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    )
    progress = Progress(console)
    _cancel_when_signalled(console)
    try:
        good = await run_demo(data_directory, port=port, console=console, reporter=progress)
    except asyncio.CancelledError:
        return FORCED_EXIT
    except MeshError as error:
        raise StackError(
            str(error), "look at the mesh with: agentmesh status; then try again"
        ) from None
    finally:
        progress.close()
    return 0 if good else 1


def _cancel_when_signalled(console: LastingConsole) -> None:
    """Have the first signal end this task in order, and each further one cut short what it does."""
    running = asyncio.current_task()
    words = chain(["stopping; Ctrl-C again ends it at once"], repeat("ending at once"))

    def interrupt() -> None:
        if running is not None:
            console.print(next(words))
            running.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
