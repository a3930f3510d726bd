"""The dispatcher of one replica: which agents are connected here, and who gets work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from prometheus_client import Gauge

from meshkit.errors import DomainError, Unavailable
from services.task.domain import Agent, Lease, Task
from services.task.usecases.attempts import Attempts, Receipt, Released

log = structlog.get_logger()

STREAMS = Gauge("agentmesh_dispatch_streams", "Agent processes connected to this replica.")
HELD = Gauge("agentmesh_dispatch_held", "Tasks held by agents connected to this replica.")

_CLAIMS_AT_A_TIME = 4
_BATCH_BYTES = 1 << 20
_LOCKED_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_POLL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Assigned:
    """Tasks for the agent."""

    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class Received:
    """Answers to the agent's reports."""

    receipts: Sequence[Receipt]


@dataclass(frozen=True, slots=True)
class Lost:
    """Leases that are gone: the agent is to stop these tasks."""

    leases: Sequence[Lease]


@dataclass(frozen=True, slots=True)
class Draining:
    """This replica goes; the agent is to connect anew."""


Message = Assigned | Received | Lost | Draining
"""What a stream tells its agent."""


@dataclass(eq=False)
class Stream:
    """One connected agent process.

    Attributes:
        slots: Most tasks it works on at a time.
        held: Epoch of each task it holds.
        open: Whether it takes more tasks.
        served: Whether a claim for it is under way.
        again: Whether it was offered work meanwhile.
    """

    agent: Agent
    capabilities: tuple[str, ...]
    slots: int
    held: dict[UUID, int] = field(default_factory=dict)
    open: bool = True
    served: bool = False
    again: bool = False
    _outgoing: asyncio.Queue[Message | None] = field(default_factory=asyncio.Queue)

    @property
    def free(self) -> int:
        """How many more tasks it can take."""
        return max(self.slots - len(self.held), 0) if self.open else 0

    def send(self, message: Message) -> None:
        """Queue a message for the agent."""
        self._outgoing.put_nowait(message)

    def end(self) -> None:
        """Have `messages` stop after what is queued."""
        self.open = False
        self._outgoing.put_nowait(None)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield the messages for the agent, in order, until the stream ends."""
        while (message := await self._outgoing.get()) is not None:
            yield message

    def unsent(self) -> list[Task]:
        """Return the tasks that its agent was never told of, once it has ended."""
        tasks: list[Task] = []
        while not self._outgoing.empty():
            message = self._outgoing.get_nowait()
            if isinstance(message, Assigned):
                tasks.extend(message.tasks)
        return tasks

    def hold(self, tasks: Iterable[Task]) -> None:
        """Note that the agent holds these tasks now."""
        for task in tasks:
            self.held[task.id] = task.epoch

    def drop(self, lease: Lease) -> bool:
        """Note that the agent no longer holds this lease; tell whether it did."""
        if self.held.get(lease.task_id) != lease.epoch:
            return False
        del self.held[lease.task_id]
        return True


class Dispatcher:
    """Gives queued tasks to the streams of this replica that have free slots.

    Woken by notifications of work and by slots that come free; a slow poll is the
    net beneath. What is claimed is decided in the database, so replicas never
    share memory and no task goes out twice.
    """

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._streams: set[Stream] = set()
        self._waiting: asyncio.Queue[Stream] = asyncio.Queue()
        self._queued: set[Stream] = set()
        self._draining = False
        self._giving_back: set[asyncio.Task[None]] = set()

    def check_open(self) -> None:
        """Refuse a new stream while this replica goes.

        Raises:
            Unavailable: It goes; another replica, or its successor, will answer.
        """
        if self._draining:
            raise Unavailable("This replica goes; connect anew.", reason="DRAINING")

    def open(self, stream: Stream) -> None:
        """Begin to give work to a stream."""
        self._streams.add(stream)
        STREAMS.inc()
        if self._draining:
            self.leave(stream)
        self.offer(stream)

    def leave(self, stream: Stream) -> None:
        """Give a stream nothing more, and tell its agent so after all that it was given."""
        stream.open = False
        stream.send(Draining())

    def close(self, stream: Stream) -> None:
        """Forget a stream; its leases run on until the agent is back or they lapse.

        Tasks that its agent was not told of are queued again.
        """
        self._streams.discard(stream)
        STREAMS.dec()
        stream.end()
        if unsent := stream.unsent():
            giving = asyncio.create_task(self._give_back(stream, unsent))
            self._giving_back.add(giving)
            giving.add_done_callback(self._giving_back.discard)

    def offer(self, stream: Stream) -> None:
        """Look soon whether there is work for this stream."""
        if stream.served:
            stream.again = True
        elif stream.free and stream in self._streams and stream not in self._queued:
            self._queued.add(stream)
            self._waiting.put_nowait(stream)

    def heard_of_work(self, payload: str) -> None:
        """Take a notification `<tenant> <capability>`; an empty one may stand for any."""
        if not payload:
            self.offer_all()
            return
        tenant, _, capability = payload.partition(" ")
        candidates = [
            stream
            for stream in self._streams
            if stream.agent.tenant == tenant and capability in stream.capabilities and stream.free
        ]
        if candidates:
            # The one with the most room; it is offered once however often it is named.
            self.offer(max(candidates, key=lambda stream: stream.free))

    def heard_of_loss(self, payload: str) -> None:
        """Take a notification `<task id> <epoch>` of a lease that was taken away.

        One that is missed shows at the agent's next heartbeat.
        """
        if not payload:
            return
        task_id, _, epoch = payload.partition(" ")
        lease = Lease(UUID(task_id), int(epoch))
        for stream in self._streams:
            if stream.drop(lease):
                stream.send(Lost([lease]))
                self.offer(stream)

    def offer_all(self) -> None:
        """Look soon whether there is work for anybody."""
        for stream in self._streams:
            self.offer(stream)

    async def drain(self) -> None:
        """Tell every agent to connect elsewhere, and give out nothing more."""
        self._draining = True
        for stream in self._streams:
            self.leave(stream)

    async def run(self) -> None:
        """Give out work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            for _ in range(_CLAIMS_AT_A_TIME):
                group.create_task(self._serve())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            HELD.set(sum(len(stream.held) for stream in self._streams))
            self.offer_all()

    async def _serve(self) -> None:
        while True:
            stream = await self._waiting.get()
            self._queued.discard(stream)
            stream.served, stream.again = True, False
            try:
                await self._fill(stream)
            except DomainError as error:
                log.warning("can't claim", cause=error.message)
                self._offer_later(stream, _RETRY_SECONDS)
            finally:
                stream.served = False
            if stream.again:
                self.offer(stream)

    async def _fill(self, stream: Stream) -> None:
        wanted = stream.free
        if not wanted or stream not in self._streams:
            # What it was woken for is for somebody else.
            self._pass_on(stream)
            return
        tasks = await self._attempts.claim(stream.agent, stream.capabilities, wanted)
        if stream not in self._streams or not stream.open:
            await self._give_back(stream, tasks)
            return
        stream.hold(tasks)
        for batch in _batches(tasks):
            stream.send(Assigned(batch))
        if len(tasks) == wanted:
            # There may be more than this stream could take.
            self._pass_on(stream)
        elif await self._attempts.is_waiting(stream.agent, stream.capabilities):
            # Another replica had it locked, and may not have taken it.
            self._offer_later(stream, _LOCKED_SECONDS)

    async def _give_back(self, stream: Stream, tasks: Sequence[Task]) -> None:
        # Nobody was told of these; without this they would wait for their leases to lapse.
        for task in tasks:
            try:
                await self._attempts.report(stream.agent, task.lease, Released())
            except DomainError as error:
                log.warning("can't give back", task_id=str(task.id), cause=error.message)

    def _pass_on(self, served: Stream) -> None:
        for stream in self._streams:
            if stream is not served and set(stream.capabilities) & set(served.capabilities):
                self.offer(stream)

    def _offer_later(self, stream: Stream, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.offer, stream)


def _batches(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Divide tasks so that each message stays well below what an agent accepts."""
    batch: list[Task] = []
    size = 0
    for task in tasks:
        if batch and size + len(task.input) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += len(task.input)
    if batch:
        yield batch
