"""Agents: programs that take tasks from the mesh."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from weakref import WeakSet

from agentmesh.connection import Connection
from agentmesh.handlers import Function, Handler, handler_of
from agentmesh.worker import Worker

F = TypeVar("F", bound=Function)

MOST_SLOTS: Final = 1000


class Agent:
    """A program that takes tasks.

        agent = Agent("greeter")

        @agent.task("text.greet")
        async def greet(input: dict) -> str:
            return f"Hello, {input['name']}!"

        agent.run()

    Registers itself, takes as many tasks at a time as it has slots, reconnects
    whenever the connection is lost, and finishes what it has when told to go.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        slots: int = 10,
        labels: Mapping[str, str] | None = None,
        build_id: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        """Describe the agent.

        Args:
            name: Unique in the tenant; processes of one name share its tasks.
            description: What it is for, in words.
            slots: Most tasks at a time, 1 to 1000.
            labels: To find it by, and for tasks to be placed by.
            build_id: Build of its code, for build routing; from `AGENTMESH_BUILD_ID` if
                it isn't given.
            url: Of the mesh; see `Connection.resolve` for what holds without.
            api_key: With the role `agent`; see `Connection.resolve`.
        """
        self.name = name
        self.description = description
        self.build_id = os.environ.get("AGENTMESH_BUILD_ID", "") if build_id is None else build_id
        self._slots = _checked(slots)
        self._paused = False
        self._workers: WeakSet[Worker] = WeakSet()
        self.labels = dict(labels or {})
        self.handlers: dict[str, Handler] = {}
        self._url = url
        self._api_key = api_key

    @property
    def slots(self) -> int:
        """Most tasks at a time, 1 to 1000; a change holds for a running agent at once."""
        return self._slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._slots = _checked(slots)
        self._tell()

    def pause(self) -> None:
        """Take no more tasks until `resume`; those that run or are on their way go on."""
        self._paused = True
        self._tell()

    def resume(self) -> None:
        """Take tasks again."""
        self._paused = False
        self._tell()

    def task(
        self, capability: str, *, version: str = "", description: str = ""
    ) -> Callable[[F], F]:
        """Make the decorated function do the tasks that ask for `capability`.

        Its parameters are the input, typed by annotation, and before it a
        `TaskContext` if it likes. What it returns is the result: anything with a JSON
        form, bytes, or `Content` with a media type. If it raises, the attempt has failed
        and is tried again as the task's policy says; `TaskFailed(...)` gives up at once,
        unless it is `retryable`.

        Cancellation is `asyncio.CancelledError` at its next await; it has the grace of
        the cancellation to clean up in a `finally`. A plain function runs in a thread,
        which can't be interrupted: it looks at `TaskContext.cancelled`. If a task is lost,
        because time is up or another agent has it, what its function still does is dropped.
        """

        def register(function: F) -> F:
            if capability in self.handlers:
                raise ValueError(f"{self.name} has a handler for {capability!r} already")
            self.handlers[capability] = handler_of(function, capability, version, description)
            return function

        return register

    def run(self, *, grace: float = 25.0) -> None:
        """Serve until SIGTERM or SIGINT; then finish running tasks, for `grace` seconds at most.

        Raises:
            MeshError: The mesh refuses this agent: a wrong key, a wrong name.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        asyncio.run(self._run_until_signalled(grace))

    async def serve(self, *, grace: float = 25.0) -> None:
        """Serve until cancelled or stopped; for agents that live in a larger program.

        Raises:
            MeshError: The mesh refuses this agent.
        """
        await self.worker(grace=grace).run()

    async def _run_until_signalled(self, grace: float) -> None:
        worker = self.worker(grace=grace)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.leave)
        await worker.run()

    def worker(self, connection: Connection | None = None, *, grace: float = 25.0) -> Worker:
        """Return what serves this agent, for those who want to say themselves when it leaves.

        Raises:
            ValueError: The agent has no handlers.
            MeshError: There is no key to be found.
        """
        if not self.handlers:
            raise ValueError(f"{self.name} has no handlers: decorate one with @agent.task(…)")
        worker = Worker(
            connection or Connection.resolve(self._url, self._api_key),
            name=self.name,
            description=self.description,
            labels=self.labels,
            slots=0 if self._paused else self._slots,
            handlers=self.handlers,
            grace=grace,
            build_id=self.build_id,
        )
        self._workers.add(worker)
        return worker

    def _tell(self) -> None:
        for worker in self._workers:
            worker.take(0 if self._paused else self._slots)


def _checked(slots: int) -> int:
    if not 1 <= slots <= MOST_SLOTS:
        raise ValueError(f"an agent has 1 to {MOST_SLOTS} slots, not {slots}")
    return slots
