"""A client or an agent: a process of its own, started with its orders."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class Worker:
    """One such process.

    Attributes:
        orders: A dataclass, handed over as JSON in `variable`.
    """

    name: str
    module: str
    variable: str
    orders: Any
    log: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and hasn't ended."""
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start it."""
        environment = {**os.environ, self.variable: json.dumps(asdict(self.orders))}
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module), env=environment, stdout=output, stderr=output
            )

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()
