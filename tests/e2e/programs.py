"""Programs that a test runs to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RUN_SECONDS = 120.0


@dataclass(frozen=True)
class Done:
    """How a program ended and what it printed."""

    code: int
    output: str
    errors: str


async def start(*command: str | Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a program whose output is read by `finish`."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> Done:
    """Wait until a program has ended; kill it if it takes too long."""
    try:
        output, errors = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Done(process.returncode or 0, output.decode(), errors.decode())


async def run(*command: str | Path, env: Mapping[str, str]) -> Done:
    """Run a program to its end."""
    return await finish(await start(*command, env=env))
