"""The agents that are connected to this replica, and what they are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final
from uuid import UUID, uuid4

from services.task.domain.reports import Receipt
from services.task.domain.task import Agent, Lease, Task


class DrainCause(IntEnum):
    """Why an agent gets nothing more on a stream."""

    SERVER_GOING = 1
    STREAM_AGE = 2
    LEAVING = 3
    REPLACED = 4


@dataclass(frozen=True, slots=True)
class Assigned:
    """Tasks for the agent, with the results of those they depend on, by id."""

    tasks: Sequence[Task]
    results: Mapping[UUID, Mapping[UUID, bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """Answers to the agent's reports."""

    receipts: Sequence[Receipt]


@dataclass(frozen=True, slots=True)
class Lost:
    """Leases that are gone: the agent is to stop these tasks."""

    leases: Sequence[Lease]


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Tasks that the agent is to stop in order, within `grace` seconds."""

    leases: Sequence[Lease]
    grace: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """A heartbeat was heard."""


@dataclass(frozen=True, slots=True)
class Draining:
    """There is nothing more on this stream."""

    cause: DrainCause


Message = Assigned | Received | Lost | StopAsked | Pulse | Draining
"""What a stream tells its agent."""


@dataclass(eq=False, slots=True)
class Stream:
    """One connected agent process, or one that has asked for tasks and waits.

    Attributes:
        slots: Most tasks it works on at a time.
        held: Epoch of each task it holds.
        reserved: Slots that are promised to tasks about to be claimed.
        renewed: When each lease was last renewed, by the loop's clock.
        open: Whether it takes more tasks.
        listed: Whether the seating has it among those with free slots.
        opened_at, seen: When it was opened, and last heard of, by the loop's clock.
        recording: Of the reports that were last taken.
        stopping: Seconds that its agent was given to stop each task, of those it was to stop.
        age_share: Of the greatest age, so that not all streams are handed over at once.
        fits: Verdicts on lanes, by their ids, as long as steering stays the same.
    """

    agent: Agent
    capabilities: frozenset[str]
    slots: int
    build_id: str = ""
    process_id: str = ""
    sdk: str = ""
    id: UUID = field(default_factory=uuid4)
    held: dict[UUID, int] = field(default_factory=dict)
    reserved: int = 0
    renewed: dict[UUID, float] = field(default_factory=dict)
    open: bool = True
    listed: bool = False
    connect_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    opened_at: float = 0.0
    seen: float = 0.0
    age_share: float = field(default_factory=lambda: random.uniform(0.9, 1.0))  # noqa: S311
    fits: dict[int, int] = field(default_factory=dict)
    fits_version: int = -1
    recording: asyncio.Task[None] | None = None
    stopping: dict[Lease, float] = field(default_factory=dict)
    _outgoing: asyncio.Queue[Message | None] = field(default_factory=asyncio.Queue)

    @property
    def lasting(self) -> bool:
        """Whether an agent process is on it, and not only a request that waits for tasks."""
        return self.seen > 0

    @property
    def free(self) -> int:
        """How many more tasks it can take."""
        return self.slots - len(self.held) - self.reserved if self.open else 0

    def send(self, message: Message) -> None:
        """Queue a message for the agent."""
        self._outgoing.put_nowait(message)

    def ask_to_stop(self, lease: Lease, grace: float) -> None:
        """Have the agent stop a task within `grace` seconds; it is told so once."""
        if self.stopping.get(lease) != grace:
            self.stopping[lease] = grace
            self.send(StopAsked([lease], grace))

    def end(self) -> None:
        """Have `messages` stop after what is queued."""
        self.open = False
        self._outgoing.put_nowait(None)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield the messages for the agent, in order, until the stream ends."""
        while (message := await self._outgoing.get()) is not None:
            yield message

    async def first_assigned(self, seconds: float) -> Assigned | None:
        """Wait so long for the first tasks, for an agent that has no stream."""
        try:
            async with asyncio.timeout(seconds):
                while not isinstance(message := await self._outgoing.get(), Assigned):
                    continue
        except TimeoutError:
            return None
        return message

    def unsent(self) -> list[Task]:
        """Return the tasks that its agent was never told of, once it has ended."""
        tasks: list[Task] = []
        while not self._outgoing.empty():
            message = self._outgoing.get_nowait()
            if isinstance(message, Assigned):
                tasks.extend(message.tasks)
        return tasks


BATCH_BYTES: Final = 1 << 20
"""Most input in one message of assignments, well below what an agent accepts."""


def batches(tasks: Sequence[Task]) -> list[list[Task]]:
    """Divide tasks so that each message stays well below what an agent accepts."""
    divided: list[list[Task]] = []
    size = BATCH_BYTES + 1
    for task in tasks:
        weight = len(task.input) + len(task.input_payload or b"") + len(task.checkpoint or b"")
        if size + weight > BATCH_BYTES:
            divided.append([])
            size = 0
        divided[-1].append(task)
        size += weight
    return divided
