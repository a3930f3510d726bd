"""The sample agents at work: a process and an API key for each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from agentmesh.client import Client
from agentmesh.demo.mesh import Mesh
from agentmesh.demo.script import AGENTS, SampleAgent
from agentmesh.errors import MeshError
from agentmesh.stack.errors import StackError
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.process import ChildProcess, Program
from agentmesh.stack.report import Event, Happening, Reporter
from agentmesh.stack.spawn import describe_exit

T = TypeVar("T")

START_SECONDS: Final = 30.0


class Crew:
    """Start the sample agents, and at the end stop them and revoke their keys.

    Use it as `async with Crew(client, mesh, reporter) as crew:`; within, every agent is
    online. Raises StackError if one doesn't get there.
    """

    def __init__(self, client: Client, mesh: Mesh, reporter: Reporter) -> None:
        self._client = client
        self._mesh = mesh
        self._report = reporter
        self._key_ids: list[str] = []
        self._processes: list[ChildProcess] = []

    async def __aenter__(self) -> Self:
        """Start all agents together."""
        try:
            async with asyncio.TaskGroup() as group:
                for agent in AGENTS:
                    group.create_task(self._start(agent))
        except BaseExceptionGroup as failures:
            await self._dismiss()
            raise failures.exceptions[0] from None
        except BaseException:
            await self._dismiss()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all agents and revoke their keys."""
        await self._dismiss()

    async def unless_one_ends(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work that needs every agent.

        Raises:
            StackError: An agent has ended before the work was done; with its last lines.
        """
        working = asyncio.create_task(work)
        watching = [asyncio.create_task(self._watch(process)) for process in self._processes]
        try:
            await asyncio.wait({working, *watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, *watching):
                task.cancel()
            await asyncio.gather(working, *watching, return_exceptions=True)
        for watch in watching:
            if not watch.cancelled():
                watch.result()
        return working.result()

    async def _start(self, agent: SampleAgent) -> None:
        begun = time.monotonic()
        self._report(Event(Happening.STARTING, agent.name))
        key = await self._client.create_api_key(f"{agent.name} of agentmesh demo", ["agent"])
        self._key_ids.append(key.id)
        process = self._process(agent, key.secret)
        self._processes.append(process)
        await process.start(START_SECONDS)
        detail = f"pid {process.pid}, does {', '.join(agent.capabilities)}"
        self._report(Event(Happening.READY, agent.name, detail, time.monotonic() - begun))

    def _process(self, agent: SampleAgent, api_key: str) -> ChildProcess:
        environment = os.environ | {
            "AGENTMESH_URL": self._mesh.url,
            "AGENTMESH_API_KEY": api_key,
            "PYTHONUNBUFFERED": "1",
        }
        program = Program(
            name=agent.name,
            address=self._mesh.url,
            command=[sys.executable, "-P", "-m", agent.module],
            env=environment,
            is_ready=partial(self._is_online, agent),
        )
        log = LogFile(self._mesh.directory.log(agent.name))
        log.rotate()
        return ChildProcess(program, log=log, cwd=self._mesh.directory.run)

    async def _is_online(self, agent: SampleAgent) -> bool:
        return bool(await self._client.list_agents(f'name = "{agent.name}" AND state = ONLINE'))

    async def _watch(self, process: ChildProcess) -> None:
        code = await process.wait()
        lines = "".join(f"\n  {line}" for line in process.log.tail())
        raise StackError(
            f"{process.name} {describe_exit(code)} before its tasks were done{lines}",
            f"see {process.log.path}",
        )

    async def _dismiss(self) -> None:
        for process in self._processes:
            self._report(Event(Happening.STOPPING, process.name))
        try:
            await asyncio.gather(*(process.stop() for process in self._processes))
        finally:
            await asyncio.gather(*(process.kill() for process in self._processes))
            for process in self._processes:
                self._report(Event(Happening.STOPPED, process.name))
            for key_id in self._key_ids:
                with suppress(MeshError):
                    await self._client.revoke_api_key(key_id)
