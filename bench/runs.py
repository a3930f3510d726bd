"""One run of one contender: a process, a job, an outcome."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench.contenders import Contender
from bench.peers.protocol import Job
from bench.virtualenvs import VirtualEnvironments

ROOT = Path(__file__).parent.parent
MOST_SECONDS = 400.0
QUOTED_CHARACTERS = 120


class RunFailed(Exception):
    """A run has no outcome; says why."""


class Runs:
    """Runs contenders, each in its own environment, with a log of what each says."""

    def __init__(self, environments: VirtualEnvironments, logs: Path) -> None:
        self._environments = environments
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)

    def python(self, contender: Contender) -> Path:
        """Return a contender's interpreter, installed."""
        if contender.is_mesh:
            return Path(sys.executable)
        return self._environments.python(contender.requirements)

    async def rate(self, contender: Contender, server: dict[str, str], tasks: int) -> float:
        """Run a contender once and return its tasks a second.

        Raises:
            RunFailed: It broke, or a task was lost.
        """
        with tempfile.TemporaryDirectory(prefix="bench-tally-") as tally:
            job = Job(server, tasks, contender.in_flight, contender.variant, tally)
            outcome = await self._outcome(contender, job)
        if outcome["executed"] < tasks:
            raise RunFailed(f"{outcome['executed']} of {tasks} tasks are done")
        if outcome["executed"] > tasks:
            again = outcome["executed"] - tasks
            print(f"{contender.name}: ran {again:.0f} twice", file=sys.stderr, flush=True)
        return float(tasks / outcome["seconds"])

    async def _outcome(self, contender: Contender, job: Job) -> dict[str, float]:
        log = self._logs / f"{contender.name.replace(' ', '-')}.log"
        with log.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                self.python(contender),
                *("-P", "-m", f"bench.peers.{contender.module}"),
                env=os.environ | {"BENCH_JOB": json.dumps(asdict(job)), "PYTHONPATH": str(ROOT)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
            try:
                output, _ = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
            except TimeoutError:
                raise RunFailed(f"no outcome within {MOST_SECONDS:.0f} s: see {log}") from None
            finally:
                # Its workers are in its group: none may run on beside the next contender.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        lines = output.decode().splitlines()
        if process.returncode or not lines:
            words = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RunFailed(f"{words[:QUOTED_CHARACTERS]} (see {log})")
        return dict(json.loads(lines[-1]))
