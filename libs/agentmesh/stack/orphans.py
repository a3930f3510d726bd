"""Processes of an earlier run whose supervisor was killed, and their end.

Each child carries the data directory it works for in its environment, and so do its own
children. While a supervisor holds the lock of that directory, whoever else carries it is left
over. This needs no file of pids, which after a reboot would name strangers.
"""

import asyncio
import os
from pathlib import Path

import psutil

MARK = "AGENTMESH_SUPERVISED_IN"
DRAIN_SECONDS = 10.0
KILL_SECONDS = 5.0


def find_orphans(data_directory: Path) -> list[psutil.Process]:
    """Return the processes started for a data directory by supervisors before this one."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in mine and _carries(process, str(data_directory))
    ]


async def end_orphans(data_directory: Path) -> int:
    """Let the orphans of a data directory drain, then kill them; return how many there were."""
    orphans = await asyncio.to_thread(find_orphans, data_directory)
    if orphans:
        await asyncio.to_thread(_end, orphans)
    return len(orphans)


def _end(orphans: list[psutil.Process]) -> None:
    _signal(orphans, "terminate")
    _, stubborn = psutil.wait_procs(orphans, DRAIN_SECONDS)
    _signal(stubborn, "kill")
    psutil.wait_procs(stubborn, KILL_SECONDS)


def _signal(processes: list[psutil.Process], action: str) -> None:
    for process in processes:
        try:
            getattr(process, action)()
        except psutil.NoSuchProcess:
            continue


def _carries(process: psutil.Process, data_directory: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == data_directory)
    except (psutil.Error, OSError):
        return False
