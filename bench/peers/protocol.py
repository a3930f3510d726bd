"""What the benchmark tells a contender, what it answers, and how all are timed alike.

The environment variable BENCH_JOB holds the job as JSON, for the contender and its workers;
the last line that the contender prints is the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.tally import counts

POLL_SECONDS = 0.005
MOST_SECONDS = 300.0
STOP_SECONDS = 10.0
WARM_UP = 200
MOST_WARM_UPS = 50

Create = Callable[[int], Awaitable[None]]
Count = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes:
        server: Where the store is: `url`, or what a mesh is found by.
        tasks: How many tasks are timed.
        in_flight: Most creations at a time.
        variant: Which way of the contender's.
        tally: Directory in which workers count.
    """

    server: dict[str, str]
    tasks: int
    in_flight: int
    variant: str
    tally: str

    @classmethod
    def from_environment(cls) -> Job:
        """Return the job that this process is part of."""
        return cls(**json.loads(os.environ["BENCH_JOB"]))

    @property
    def url(self) -> str:
        """Return the URL of the store."""
        return self.server["url"]


async def measure(
    job: Job,
    create: Create,
    recorded: Count | None = None,
    *,
    processes: int = 1,
    verified: Count | None = None,
) -> None:
    """Time the creation of all tasks until each has run and is recorded; print the outcome.

    Args:
        job: How many, and where workers count.
        create: Creates as many tasks as it is told.
        recorded: Counts tasks that the store holds as done; without it, runs are counted.
        processes: Worker processes that must have run a task before the clock starts.
        verified: Counts like `recorded`, once the clock has stopped, where that takes longer.
    """
    before = await _warm_up(job, create, processes)
    await _reached(before, job, recorded)
    begun = time.perf_counter()
    await create(job.tasks)
    await _reached(before + job.tasks, job, recorded)
    seconds = time.perf_counter() - begun
    count = verified or recorded
    done = await count() if count else sum(counts(job.tally))
    print(json.dumps({"seconds": seconds, "executed": done - before}), flush=True)


async def spread(count: int, in_flight: int, create: Callable[[], Awaitable[object]]) -> None:
    """Create tasks one by one, at most so many at a time."""
    numbers = iter(range(count))

    async def produce() -> None:
        for _ in numbers:
            await create()

    await asyncio.gather(*(produce() for _ in range(min(in_flight, count))))


@contextmanager
def workers(*commands: list[str]) -> Iterator[None]:
    """Run worker processes; programs of the environment are named by their bare names."""
    directory = Path(sys.executable).parent
    processes = [
        subprocess.Popen([str(directory / program), *arguments], stdout=sys.stderr)
        for program, *arguments in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def own_workers(module: str, processes: int) -> list[list[str]]:
    """Return the commands of workers that a contender's module is itself."""
    return [["python", "-m", module, "work"]] * processes


def is_worker() -> bool:
    """Tell whether this process is one of `own_workers`."""
    return sys.argv[1:] == ["work"]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where the environment has it."""
    try:
        loops = importlib.import_module("uvloop")
    except ImportError:
        asyncio.run(main)
    else:
        loops.run(main)


async def _warm_up(job: Job, create: Create, processes: int) -> int:
    """Run tasks until every worker process has had one; return how many ran."""
    for times in range(1, MOST_WARM_UPS + 1):
        await create(WARM_UP)
        await _reached(times * WARM_UP, job, None)
        if len(counts(job.tally)) >= processes:
            return times * WARM_UP
    raise TimeoutError(f"only {len(counts(job.tally))} of {processes} workers run tasks")


async def _reached(total: int, job: Job, recorded: Count | None) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    # The store is asked only once all have run, so that asking takes nothing from the run.
    while sum(counts(job.tally)) < total or (recorded and await recorded() < total):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{sum(counts(job.tally))} of {total} tasks have run")
        await asyncio.sleep(POLL_SECONDS)
