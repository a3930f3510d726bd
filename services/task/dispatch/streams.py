"""The agents that are connected to this replica, and what they are told."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """Tasks for the agent, with the results of those they depend on, by id.

    Attributes:
        receipts: Answers to reports that go in the same message.
    """

    tasks: Sequence[Task]
    results: Mapping[UUID, Mapping[UUID, bytes]] = field(default_factory=dict)
    receipts: Sequence[Receipt] = ()


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
        merges: Whether its agent reads receipts that come with assignments.
        open: Whether it takes more tasks.
        listed: Whether the seating has it among those with free slots.
        opened_at, seen: When it was opened, and last heard of, by the loop's clock.
        idle: When it was last seen to hold nothing.
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
    merges: bool = False
    id: UUID = field(default_factory=uuid4)
    held: dict[UUID, int] = field(default_factory=dict)
    reserved: int = 0
    renewed: dict[UUID, float] = field(default_factory=dict)
    open: bool = True
    listed: bool = False
    connect_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    opened_at: float = 0.0
    seen: float = 0.0
    idle: float = 0.0
    age_share: float = field(default_factory=lambda: random.uniform(0.9, 1.0))  # noqa: S311
    fits: dict[int, int] = field(default_factory=dict)
    fits_version: int = -1
    recording: asyncio.Task[None] | None = None
    stopping: dict[Lease, float] = field(default_factory=dict)
    _outgoing: deque[Message | None] = field(default_factory=deque)
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

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
        self._put(message)

    def ask_to_stop(self, lease: Lease, grace: float) -> None:
        """Have the agent stop a task within `grace` seconds; it is told so once."""
        if self.stopping.get(lease) != grace:
            self.stopping[lease] = grace
            self.send(StopAsked([lease], grace))

    def end(self) -> None:
        """Have `messages` stop after what is queued."""
        self.open = False
        self._put(None)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield the messages for the agent, in order, until the stream ends."""
        while True:
            await self._filled.wait()
            if self.merges:
                # The receipts of a transaction follow its assignments by one turn of the loop.
                await asyncio.sleep(0)
            message = self._next()
            if message is None:
                return
            yield message

    async def first_assigned(self, seconds: float) -> Assigned | None:
        """Wait so long for the first tasks, for an agent that has no stream."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._filled.wait()
                    if isinstance(message := self._take(), Assigned):
                        return message
        except TimeoutError:
            return None

    def unsent(self) -> list[Task]:
        """Return the tasks that its agent was never told of, once it has ended."""
        tasks: list[Task] = []
        while self._outgoing:
            message = self._take()
            if isinstance(message, Assigned):
                tasks.extend(message.tasks)
        return tasks

    def _put(self, message: Message | None) -> None:
        self._outgoing.append(message)
        self._filled.set()

    def _take(self) -> Message | None:
        message = self._outgoing.popleft()
        if not self._outgoing:
            self._filled.clear()
        return message

    def _next(self) -> Message | None:
        """Take the next message, with the receipts or assignments that follow it at once."""
        message = self._take()
        while self.merges and self._outgoing:
            merged = _merged(message, self._outgoing[0])
            if merged is None:
                break
            self._take()
            message = merged
        return message


def _merged(first: Message | None, second: Message | None) -> Assigned | Received | None:
    """Return two messages as one, if one can say both."""
    match first, second:
        case Received(), Received():
            return Received([*first.receipts, *second.receipts])
        case Assigned(), Received():
            return replace(first, receipts=[*first.receipts, *second.receipts])
        case Received(), Assigned():
            return replace(second, receipts=first.receipts)
        case _:
            return None


BATCH_BYTES: Final = 1 << 20
"""Most data in one message of several assignments, well below what an agent accepts."""


def batches(
    tasks: Sequence[Task], results: Mapping[UUID, Mapping[UUID, bytes]]
) -> list[list[Task]]:
    """Divide tasks so that each message stays well below what an agent accepts.

    `results` are of those that they depend on.
    """
    divided: list[list[Task]] = []
    size = BATCH_BYTES + 1
    for task in tasks:
        weight = len(task.input) + len(task.input_payload or b"")
        weight += len(task.checkpoint or b"") + len(task.answer or b"")
        if task.id in results:
            weight += sum(map(len, results[task.id].values()))
        if size + weight > BATCH_BYTES:
            divided.append([])
            size = 0
        divided[-1].append(task)
        size += weight
    return divided
