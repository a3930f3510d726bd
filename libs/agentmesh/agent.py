"""Agents: programs that take tasks from the mesh."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from typing import TypeVar

from agentmesh.connection import Connection
from agentmesh.handlers import Function, Handler, handler_of
from agentmesh.worker import Worker

F = TypeVar("F", bound=Function)


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
        url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        """Describe the agent.

        Args:
            name: Unique in the tenant; processes of one name share its tasks.
            description: What it is for, in words.
            slots: Most tasks at a time, 1 to 1000.
            labels: To find it by.
            url: Of the mesh; see `Connection.resolve` for what holds without.
            api_key: With the role `agent`; see `Connection.resolve`.
        """
        self.name = name
        self.description = description
        self.slots = slots
        self.labels = dict(labels or {})
        self.handlers: dict[str, Handler] = {}
        self._url = url
        self._api_key = api_key

    def task(
        self, capability: str, *, version: str = "", description: str = ""
    ) -> Callable[[F], F]:
        """Make the decorated function do the tasks that ask for `capability`.

        Its parameters are the input, typed by annotation, and before it a
        `TaskContext` if it likes. What it returns is the result. If it raises, the
        attempt has failed and is tried again as the task's policy says;
        `TaskFailed(..., retryable=False)` gives up at once. Cancellation is
        `asyncio.CancelledError` at its next await; a plain function runs in a
        thread, which can't be stopped: it goes on, and its result is dropped.
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
        await self._worker(grace).run()

    async def _run_until_signalled(self, grace: float) -> None:
        worker = self._worker(grace)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.leave)
        await worker.run()

    def _worker(self, grace: float) -> Worker:
        if not self.handlers:
            raise ValueError(f"{self.name} has no handlers: decorate one with @agent.task(…)")
        return Worker(
            Connection.resolve(self._url, self._api_key),
            name=self.name,
            description=self.description,
            labels=self.labels,
            slots=self.slots,
            handlers=self.handlers,
            grace=grace,
        )
