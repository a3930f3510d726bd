"""Start child processes that outlive neither their supervisor nor their stop."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentmesh.stack import leash
from agentmesh.stack.account import Account
from agentmesh.stack.log_file import LogFile

POLL_SECONDS = 0.05


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: LogFile,
    cwd: Path,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output appended to `log`.

    A session of its own keeps a terminal's Ctrl-C away from it: the supervisor decides the
    order in which things stop. On Linux it is sent `death_signal` if the calling *thread*
    ends, so call this from the thread that lives as long as the children should.
    """
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    leashed = [
        sys.executable,
        *("-I", "-S", leash.__file__),
        *(str(number) for number in (os.getpid(), int(death_signal), uid, gid)),
        *command,
    ]
    with log.open_for_run() as output:
        return subprocess.Popen(  # noqa: S603 - the command is built by the stack itself
            leashed,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


async def wait_for_exit(child: subprocess.Popen[bytes]) -> int:
    """Wait until a child has ended and return its exit code, negative for a signal.

    Polls, because a child may outlive the event loop that started it.
    """
    while (code := child.poll()) is None:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(POLL_SECONDS)
    return code


async def exits_within(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Tell whether a child ends within some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await wait_for_exit(child)
    except TimeoutError:
        return False
    return True


def describe_exit(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
