"""The clients and agents of a run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos import agent, answerer, client, sdk_agent
from tests.chaos.worker import Worker

AGENTS: Final = 2
"""Agents that misbehave; there is one of the SDK besides."""

CLIENTS: Final = 3
"""Clients; the last one uses the SDK."""

_SLOTS: Final = 60


@dataclass(frozen=True)
class Places:
    """Where clients and agents find the mesh.

    Attributes:
        targets: The replicas of the task service.
        url: The gateway.
    """

    targets: list[str]
    registry: str
    url: str
    key: str


class Staff:
    """Knows each of them by name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.workers: dict[str, Worker] = {}

    def employ(self, places: Places, *, seed: int, tasks: int, rate: float) -> None:
        """Name the agents, and the clients that share the tasks and the rate among them."""
        directory = str(self._directory)
        for number in range(AGENTS):
            orders = agent.Orders(
                number, _SLOTS, places.targets, places.registry, places.key, directory
            )
            self._add(f"agent-{number}", "agent", agent.VARIABLE, orders)
        own = sdk_agent.Orders(0, _SLOTS, places.url, places.key, directory)
        self._add(f"agent-{AGENTS}", "sdk_agent", sdk_agent.VARIABLE, own)
        for number in range(CLIENTS):
            share = tasks // CLIENTS + (number < tasks % CLIENTS)
            url = places.url if number == CLIENTS - 1 else ""
            wanted = client.Orders(
                *(seed, number, share, places.targets, url, places.key, directory, rate / CLIENTS)
            )
            self._add(f"client-{number}", "client", client.VARIABLE, wanted)
        answers = answerer.Orders(places.url, places.key, directory)
        self._add("answerer", "answerer", answerer.VARIABLE, answers)

    def agents(self) -> list[Worker]:
        """Return the agents."""
        return [each for name, each in self.workers.items() if name.startswith("agent")]

    def clients(self) -> list[Worker]:
        """Return the clients."""
        return [each for name, each in self.workers.items() if name.startswith("client")]

    def lasting(self) -> list[Worker]:
        """Return those that never end by themselves."""
        return [each for each in self.workers.values() if each not in self.clients()]

    async def end(self) -> None:
        """Kill them all."""
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
            await worker.kill()

    def _add(self, name: str, module: str, variable: str, orders: Any) -> None:
        log = self._directory / f"{name}.log"
        self.workers[name] = Worker(name, f"tests.chaos.{module}", variable, orders, log)
