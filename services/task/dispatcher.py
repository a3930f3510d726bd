"""The dispatcher of one replica: its streams, from hello to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Gauge

from meshkit.errors import DomainError, Unavailable
from meshkit.failpoints import failpoint
from services.task.dispatch.streams import (
    Assigned,
    DrainCause,
    Draining,
    Lost,
    Received,
    Stream,
)
from services.task.domain.reports import ENDS, LEASE_LOST, Outcome, Released
from services.task.domain.task import Lease, Task
from services.task.engine.operations.report import Renewed
from services.task.engine.seating import Seating
from services.task.lane_book import LaneBook
from services.task.usecases.attempts import Attempts

log = structlog.get_logger()

STREAMS = Gauge("agentmesh_dispatch_streams", "Agent processes connected to this replica.")
HELD = Gauge("agentmesh_dispatch_held", "Tasks held by agents connected to this replica.")

_POLL_SECONDS = 1.0
# A lease is renewed once a third of it is over, not with each heartbeat: most tasks end before.
_RENEW_SHARE: Final = 1 / 3


class Dispatcher:
    """Keeps the streams of this replica; what goes to them is decided by the seating.

    Replicas share the database and nothing else: what one makes ready, the others
    hear of by notification, with a poll as the net beneath.
    """

    def __init__(
        self,
        attempts: Attempts,
        seating: Seating,
        lanes: LaneBook,
        *,
        lease: float,
        silence: float,
        idle_heartbeat: float,
        max_age: float,
    ) -> None:
        self._attempts = attempts
        self._seating = seating
        self._lanes = lanes
        self._renew_after = lease * _RENEW_SHARE
        self._silent_after = silence
        self._idle_heartbeat = idle_heartbeat
        self._max_age = max_age
        self._draining = False
        self._errands: set[asyncio.Task[None]] = set()
        seating.on_orphans(self._give_back_soon)

    @property
    def streams(self) -> set[Stream]:
        """The streams of connected agents."""
        return self._seating.streams

    def check_open(self) -> None:
        """Refuse a new stream while this replica goes.

        Raises:
            Unavailable: It goes; another replica, or its successor, will answer.
        """
        if self._draining:
            raise Unavailable("This replica goes; connect anew.", reason="DRAINING")

    def open(self, stream: Stream) -> None:
        """Begin to give work to a stream; an older one of the same process ends."""
        for other in [each for each in self.streams if _replaces(stream, each)]:
            self.leave(other, DrainCause.REPLACED)
            other.end()
            self._seating.remove(other)
        now = asyncio.get_running_loop().time()
        stream.opened_at = stream.seen = now
        stream.renewed.update(dict.fromkeys(stream.held, now))
        self._seating.add(stream)
        failpoint("dispatcher.opened")
        STREAMS.inc()
        if self._draining:
            self.leave(stream, DrainCause.SERVER_GOING)

    def leave(self, stream: Stream, cause: DrainCause) -> None:
        """Give a stream nothing more, and tell its agent so after all that it was given."""
        stream.open = False
        self._seating.refresh(stream)
        stream.send(Draining(cause))

    def close(self, stream: Stream) -> None:
        """Forget a stream; its leases run on until the agent is back or they lapse.

        Tasks that its agent was not told of are queued again.
        """
        STREAMS.dec()
        failpoint("dispatcher.closing")
        stream.end()
        self._seating.remove(stream)
        if unsent := stream.unsent():
            self._give_back_soon(stream, unsent)

    def resize(self, stream: Stream, slots: int) -> None:
        """Have a stream take more or fewer tasks at a time from now on."""
        stream.slots = slots
        self._seating.refresh(stream)

    async def first(self, stream: Stream, wait: float) -> list[Assigned]:
        """Return the first tasks for an agent without a stream; none after `wait` seconds."""
        stream.opened_at = asyncio.get_running_loop().time()
        self._seating.add(stream)
        try:
            await self._attempts.look()
            assigned = await stream.first_assigned(wait)
        finally:
            stream.open = False
            self._seating.remove(stream)
            if unsent := stream.unsent():
                self._give_back_soon(stream, unsent)
        return [] if assigned is None else [assigned]

    async def take_reports(
        self,
        stream: Stream,
        outcomes: Sequence[tuple[Lease, Outcome]],
        recording: asyncio.TaskGroup,
    ) -> None:
        """Record what an agent says of its tasks, in order, and send it the receipts in order."""
        before = stream.recording
        if before is not None and before.done():
            before = None
        stream.recording = recording.create_task(self._record(stream, outcomes, before))

    async def _record(
        self,
        stream: Stream,
        outcomes: Sequence[tuple[Lease, Outcome]],
        before: asyncio.Task[None] | None,
    ) -> None:
        # The writer keeps the order of what it is given, so reports need not wait for each other;
        # their receipts must.
        receipts = await self._attempts.report(stream.agent, outcomes)
        failpoint("dispatcher.recorded")
        if before is not None:
            await before
        for (lease, outcome), receipt in zip(outcomes, receipts, strict=True):
            ended = receipt.accepted and isinstance(outcome, ENDS)
            if ended or receipt.reason == LEASE_LOST:
                self._seating.drop(stream, lease)
        stream.send(Received(receipts))

    async def renew(self, stream: Stream, leases: Sequence[Lease]) -> None:
        """Prolong those of an agent's leases that need it, and tell which are lost."""
        now = asyncio.get_running_loop().time()
        stale = [
            lease
            for lease in leases
            if stream.held.get(lease.task_id) != lease.epoch
            or now - stream.renewed.setdefault(lease.task_id, now) >= self._renew_after
        ]
        if not stale:
            return
        renewed = await self._attempts.renew(stream.agent, stale)
        for lease in renewed.held:
            stream.renewed[lease.task_id] = now
        self.ask_to_stop(stream, renewed)
        lost = [lease for lease in stale if lease not in renewed.held]
        for lease in lost:
            self._seating.drop(stream, lease)
        if lost:
            stream.send(Lost(lost))

    def ask_to_stop(self, stream: Stream, renewed: Renewed) -> None:
        """Tell an agent which of its tasks it is to stop, unless it knows."""
        for lease, grace in renewed.to_stop.items():
            if lease not in stream.stopping:
                stream.ask_to_stop(lease, grace)

    def heard_of_work(self, payload: str) -> None:
        """Take a notification with ids of lanes; an empty one may stand for any."""
        lanes = [int(lane) for lane in payload.split(",")] if payload else []
        unknown = [lane for lane in lanes if lane not in self._seating.lanes]
        for lane in lanes:
            self._seating.queued(lane)
        if unknown:
            self._soon(self._lanes.wait_in(unknown))
        elif not lanes:
            self._soon(self._lanes.look_for_waiting())

    def heard_of_loss(self, payload: str) -> None:
        """Take a notification of leases `<task id> <epoch>` that were taken away.

        One that is missed shows when the lease would be renewed.
        """
        for item in payload.split(",") if payload else ():
            task_id, _, epoch = item.partition(" ")
            lease = Lease(UUID(task_id), int(epoch))
            stream = self._seating.holder(lease.task_id)
            if stream is not None and stream.held.get(lease.task_id) == lease.epoch:
                self._seating.drop(stream, lease)
                stream.send(Lost([lease]))

    def heard_of_stop(self, payload: str) -> None:
        """Take a notification of tasks `<task id> <epoch> <grace>` that are to be stopped."""
        for item in payload.split(",") if payload else ():
            task_id, epoch, grace = item.split(" ")
            lease = Lease(UUID(task_id), int(epoch))
            stream = self._seating.holder(lease.task_id)
            if stream is not None and stream.held.get(lease.task_id) == lease.epoch:
                stream.ask_to_stop(lease, float(grace))

    async def drain(self) -> None:
        """Tell every agent to connect elsewhere, and give out nothing more."""
        self._draining = True
        for stream in list(self.streams):
            self.leave(stream, DrainCause.SERVER_GOING)

    async def run(self) -> None:
        """Look after the streams until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            HELD.set(sum(len(stream.held) for stream in self.streams))
            self._look_after_streams()
            if self.streams:
                await self._look_for_waiting()

    async def _look_for_waiting(self) -> None:
        try:
            await self._lanes.look_for_waiting()
        except DomainError as error:
            log.warning("can't look for work", cause=error.message)

    def _look_after_streams(self) -> None:
        now = asyncio.get_running_loop().time()
        for stream in list(self.streams):
            if stream.lasting and self._lateness(stream, now) > self._silent_after:
                log.info("an agent went silent", agent=stream.agent.name)
                stream.end()
            elif stream.open and now - stream.opened_at > self._max_age * stream.age_share:
                self.leave(stream, DrainCause.STREAM_AGE)

    def _lateness(self, stream: Stream, now: float) -> float:
        """Return for how many seconds a stream has owed a word; below zero, it owes none."""
        if not stream.held:
            # Once it is given a task, it is to send heartbeats more often.
            stream.idle = now
            return now - stream.seen - self._idle_heartbeat
        return now - max(stream.seen, stream.idle)

    def _give_back_soon(self, stream: Stream, tasks: list[Task]) -> None:
        self._soon(self._give_back(stream, tasks))

    async def _give_back(self, stream: Stream, tasks: Sequence[Task]) -> None:
        # Nobody was told of these; without this they would wait for their leases to lapse.
        await self._attempts.report(stream.agent, [(task.lease, Released()) for task in tasks])

    def _soon(self, errand: object) -> None:
        async def run() -> None:
            try:
                await errand  # type: ignore[misc] # a coroutine
            except DomainError as error:
                log.warning("an errand failed", cause=error.message)

        task = asyncio.create_task(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _replaces(stream: Stream, other: Stream) -> bool:
    same = other.agent.id == stream.agent.id and other.process_id == stream.process_id
    return bool(stream.process_id) and same
