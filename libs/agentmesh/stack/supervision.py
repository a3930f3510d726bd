"""Keep one part of the mesh running: start it, and start it again when it ends."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from agentmesh.stack.backoff import Backoff
from agentmesh.stack.errors import StackError
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.report import Event, Happening, Reporter
from agentmesh.stack.spawn import describe_exit
from agentmesh.stack.state import ProcessRecord, ProcessState

FIRST_START_ATTEMPTS = 3
QUOTE_LOG_FROM_FAILURE = 3


class Part(Protocol):
    """What can be supervised: PostgreSQL, a service, the gateway."""

    name: str
    log: LogFile

    @property
    def address(self) -> str:
        """Return where it listens."""

    @property
    def pid(self) -> int | None:
        """Return its pid while it runs."""

    async def start(self) -> None:
        """Start it and wait until it is ready; raise StackError if it doesn't get there."""

    async def wait(self) -> int:
        """Wait until it has ended and return its exit code."""

    async def stop(self) -> None:
        """Let it drain, then end it."""

    async def kill(self) -> None:
        """End it at once."""


class Supervision:
    """Supervise one part, and say what becomes of it."""

    def __init__(
        self,
        part: Part,
        *,
        reporter: Reporter,
        changed: Callable[[], None],
        attempts: int = FIRST_START_ATTEMPTS,
        backoff: Backoff | None = None,
    ) -> None:
        self.part = part
        self._reporter = reporter
        self._changed = changed
        self._attempts = attempts
        self._backoff = backoff or Backoff()
        self._state = ProcessState.DOWN
        self._restarts = 0
        self._started_at: float | None = None
        self.watch: asyncio.Task[None] | None = None

    def record(self) -> ProcessRecord:
        """Describe the part as it is now."""
        return ProcessRecord(
            name=self.part.name,
            state=self._state,
            pid=self.part.pid,
            address=self.part.address,
            restarts=self._restarts,
            started_at=self._started_at,
        )

    async def start(self) -> None:
        """Start the part and watch over it from then on.

        Raises StackError when that fails as often as allowed: what never worked is to be
        mended, not tried for ever.
        """
        begun = time.monotonic()
        for attempt in range(1, self._attempts + 1):
            try:
                await self._start_once()
                break
            except StackError as error:
                if attempt == self._attempts:
                    raise
                await self._back_off(self._cause(error))
        self._report(Happening.READY, self.part.address, seconds=time.monotonic() - begun)
        self.watch = asyncio.create_task(self._keep_running(), name=f"watch {self.part.name}")

    async def stop(self) -> None:
        """Stop watching, and let the part drain."""
        if self._state is ProcessState.DOWN:
            return
        await self._stop_watching()
        begun = time.monotonic()
        self._enter(ProcessState.STOPPING)
        self._report(Happening.STOPPING)
        await self.part.stop()
        self._enter(ProcessState.DOWN)
        self._report(Happening.STOPPED, seconds=time.monotonic() - begun)

    async def kill(self) -> None:
        """Stop watching, and end the part at once."""
        await self._stop_watching()
        await self.part.kill()
        self._enter(ProcessState.DOWN)

    async def _keep_running(self) -> None:
        while True:
            code = await self.part.wait()
            await self._recover(describe_exit(code))

    async def _recover(self, cause: str) -> None:
        while True:
            await self._back_off(cause)
            begun = time.monotonic()
            try:
                await self._start_once()
            except StackError as error:
                cause = self._cause(error)
                continue
            self._report(Happening.READY, "again", seconds=time.monotonic() - begun)
            return

    def _cause(self, error: StackError) -> str:
        return error.message.partition("\n")[0].removeprefix(f"{self.part.name} ")

    async def _back_off(self, cause: str) -> None:
        delay = self._backoff.failed()
        repeatedly = self._backoff.failures >= QUOTE_LOG_FROM_FAILURE
        self._report(
            Happening.CRASHED,
            f"{cause}; starts again in {delay:.1f} s",
            lines=tuple(self.part.log.tail()) if repeatedly else (),
        )
        self._enter(ProcessState.BACKING_OFF)
        await asyncio.sleep(delay)
        self._restarts += 1

    async def _start_once(self) -> None:
        self._enter(ProcessState.STARTING)
        self._report(Happening.STARTING)
        try:
            await self.part.start()
        except OSError as error:
            raise StackError(
                f"{self.part.name} could not be started: {error.strerror}",
                "free memory, disk space or file handles on this machine",
            ) from error
        self._backoff.succeeded()
        self._started_at = time.time()
        self._enter(ProcessState.READY)

    async def _stop_watching(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait([self.watch])
            self.watch = None

    def _enter(self, state: ProcessState) -> None:
        self._state = state
        self._changed()

    def _report(
        self,
        happening: Happening,
        detail: str = "",
        *,
        seconds: float | None = None,
        lines: tuple[str, ...] = (),
    ) -> None:
        self._reporter(Event(happening, self.part.name, detail, seconds, lines))
