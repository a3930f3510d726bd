"""Which seat each task gets: the agents with free slots, and the lanes with waiting tasks.

What the writer does here within a transaction stands only if that commits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final
from uuid import UUID

from services.task.dispatch.fitting import Fit
from services.task.dispatch.steering import Steering
from services.task.dispatch.streams import (
    Assigned,
    Lost,
    Stream,
    batches,
)
from services.task.dispatch.turns import Turns
from services.task.domain.lanes import Lane
from services.task.domain.task import Lease, Task
from services.task.engine.changes import Changes
from services.task.engine.free_streams import FreeStreams
from services.task.engine.plan import Plan
from services.task.engine.waiting_lanes import WaitingLanes

_RECHECK_SECONDS: Final = 0.05


class Seating:
    """The free seats and the waiting lanes of this replica."""

    def __init__(self, steering: Steering) -> None:
        self.steering = steering
        self.lanes: dict[int, Lane] = {}
        self.streams: set[Stream] = set()
        self._free = FreeStreams(steering)
        self._waiting = WaitingLanes()
        self._turns: dict[str, Turns] = {}
        self._holders: dict[UUID, Stream] = {}
        self._left: dict[Lease, Stream] = {}
        self._undo: list[Callable[[], None]] = []
        self._plan: Plan | None = None
        self._doubted: set[int] = set()
        self._patient: set[int] = set()
        self._at_rest = False
        self._on_work: Callable[[], None] = lambda: None
        self._on_orphans: Callable[[Stream, list[Task]], None] = lambda _stream, _tasks: None

    # What the rest of the replica tells.

    def on_work(self, wake: Callable[[], None]) -> None:
        """Have the writer woken when there may be a task for a seat."""
        self._on_work = wake

    def on_orphans(self, give_back: Callable[[Stream, list[Task]], None]) -> None:
        """Have tasks given back whose stream ended while they were leased to it."""
        self._on_orphans = give_back

    def add(self, stream: Stream) -> None:
        """Begin to give tasks to a stream."""
        self.streams.add(stream)
        for task_id in stream.held:
            self._holders[task_id] = stream
        self.refresh(stream)

    def remove(self, stream: Stream) -> None:
        """Give nothing more to a stream that has ended."""
        self.streams.discard(stream)
        self.refresh(stream)
        for task_id in stream.held:
            if self._holders.get(task_id) is stream:
                del self._holders[task_id]

    def refresh(self, stream: Stream) -> None:
        """Note that a stream has more or fewer free slots than before."""
        free = stream.free > 0 and stream in self.streams
        self._free.update(stream, free=free)
        if free and self._waiting.any_of(stream.agent.tenant):
            self._at_rest = False
            self._on_work()

    def look(self) -> None:
        """Have the writer look whether there is a task for a seat."""
        self._at_rest = False
        self._on_work()

    def wait_in(self, lane: Lane) -> None:
        """Note that a lane holds tasks."""
        self.lanes[lane.id] = lane
        self.queued(lane.id)

    def holder(self, task_id: UUID) -> Stream | None:
        """Return the stream whose agent holds a task."""
        return self._holders.get(task_id)

    def drop(self, stream: Stream, lease: Lease) -> None:
        """Note that a stream's agent no longer holds a lease."""
        if stream.held.get(lease.task_id) == lease.epoch:
            del stream.held[lease.task_id]
            stream.renewed.pop(lease.task_id, None)
            stream.stopping.pop(lease, None)
            if self._holders.get(lease.task_id) is stream:
                del self._holders[lease.task_id]
            self.refresh(stream)

    # What the writer does within a transaction.

    def begin(self) -> None:
        """Begin a transaction."""
        self._undo.clear()
        self._left.clear()
        self._free.next_turn()

    def rollback(self) -> None:
        """Undo what was done since `begin`."""
        for action in reversed(self._undo):
            action()
        self._undo.clear()
        if self._plan is not None:
            for seats in self._plan.seats.values():
                for stream in seats:
                    self.give_back(stream)
            self._plan = None

    def commit(self, changes: Changes) -> None:
        """Tell the agents what they were given, and what they have lost."""
        self._undo.clear()
        self._tell_of_new(changes)
        for lease in changes.lost:
            if (loser := self._left.get(lease)) is not None:
                loser.send(Lost([lease]))
        for lease, grace in changes.to_stop:
            if (holder := self._holders.get(lease.task_id)) is not None:
                holder.ask_to_stop(lease, grace)

    def _tell_of_new(self, changes: Changes) -> None:
        given: dict[Stream, list[Task]] = {}
        for seat, task in changes.started:
            # Some may have been taken away again at once.
            if isinstance(seat, Stream) and seat.held.get(task.id) == task.epoch:
                given.setdefault(seat, []).append(task)
        for stream, tasks in given.items():
            # Nothing may follow a drain.
            if stream not in self.streams or not stream.open:
                self._on_orphans(stream, tasks)
                continue
            for batch in batches(tasks, changes.results):
                stream.send(Assigned(batch, changes.results))

    def take_for_new(self, task: Task) -> Stream | None:
        """Take a seat for a task that has just become ready, unless others wait for it."""
        lane = self.lanes.get(task.lane)
        if lane is None or lane in self._waiting:
            return None
        stream, verdict = self._free.pick(lane, later=False)
        if stream is None or verdict is not Fit.YES or self._waiting.any_before(stream):
            return None
        self.seat(stream, task, reserved=False)
        return stream

    def seat(self, stream: Stream, task: Task, *, reserved: bool = True) -> None:
        """Have a task sit at a stream, under the epoch that it is about to get."""
        task_id, epoch = task.id, task.epoch + 1
        if reserved:
            stream.reserved -= 1
        stream.held[task_id] = epoch
        self._holders[task_id] = stream
        self.refresh(stream)
        self._undo.append(lambda: self.drop(stream, Lease(task_id, epoch)))

    def vacate(self, lease: Lease) -> None:
        """Note that a task has left its agent."""
        stream = self._holders.get(lease.task_id)
        if stream is None or stream.held.get(lease.task_id) != lease.epoch:
            return
        self._left[lease] = stream
        self.drop(stream, lease)
        self._undo.append(lambda: self._hold(stream, lease))

    def count_turn(self, lane: Lane) -> None:
        """Note that a lane has used a turn."""
        self._turns[lane.key.tenant].count(lane)

    def give_back(self, stream: Stream) -> None:
        """Give back a seat that was reserved."""
        stream.reserved -= 1
        self.refresh(stream)

    def queued(self, lane_id: int) -> None:
        """Note that a lane holds a queued task."""
        lane = self.lanes.get(lane_id)
        if lane is None:
            return
        if self._waiting.add(lane):
            self._at_rest = False
        if (lane.key.tenant, lane.key.capability) in self._free:
            self._on_work()

    def has_work(self) -> bool:
        """Tell whether a lane waits for which there may be a seat."""
        return not self._at_rest and self._waiting.any_for(self._free)

    def plan(self, most: int) -> Plan:
        """Decide which lanes' tasks go to which seats, up to `most` tasks."""
        self._plan = plan = Plan(self)
        for tenant, lanes in self._waiting.tenants():
            turns = self._turns.setdefault(tenant, Turns())
            able = [
                lane
                for lane in lanes.values()
                if (tenant, lane.key.capability) in self._free
                and not self.steering.is_paused(tenant, lane.key.capability)
            ]
            if able:
                self._plan_tenant(plan, turns, able, most)
        # What is free fits nothing that waits, until either changes.
        self._at_rest = not plan.wanted
        return plan

    def finish(self, plan: Plan) -> None:
        """Give back the seats that were left over; forget the lanes that gave less than asked."""
        for lane_id, seats in plan.seats.items():
            if not seats:
                continue
            for stream in seats:
                self.give_back(stream)
            self._doubt(plan.lanes[lane_id])
        for lane_id, seconds in plan.early.items():
            self._have_patience(lane_id, seconds)
        self._plan = None

    def _plan_tenant(self, plan: Plan, turns: Turns, lanes: list[Lane], most: int) -> None:
        round_ = turns.round(lanes)
        while (lane := round_.next()) is not None and most > 0:
            later = lane.id not in self._patient
            stream, verdict = self._free.pick(lane, later=later)
            # While a preferred agent has a seat, the others wait.
            if stream is None or (
                verdict is Fit.LATER and lane.id in plan.seats and lane.id not in plan.late
            ):
                round_.drop(lane)
                continue
            stream.reserved += 1
            self.refresh(stream)
            plan.seats.setdefault(lane.id, deque()).append(stream)
            plan.lanes[lane.id] = lane
            if verdict is Fit.LATER:
                plan.late.add(lane.id)
            round_.take(lane)
            most -= 1

    def _have_patience(self, lane_id: int, seconds: float) -> None:
        """Leave a lane to preferred agents until its first task has waited long enough."""
        self._patient.add(lane_id)

        def lose() -> None:
            self._patient.discard(lane_id)
            self.look()

        asyncio.get_running_loop().call_later(seconds, lose)

    def _doubt(self, lane: Lane) -> None:
        """Forget a lane that gave less than it was asked for, but look again once.

        Its tasks may have been locked by another replica that then let them go.
        """
        self._waiting.remove(lane)
        loop = asyncio.get_running_loop()
        if lane.id in self._doubted:
            self._doubted.discard(lane.id)
        else:
            self._doubted.add(lane.id)
            loop.call_later(_RECHECK_SECONDS, self.wait_in, lane)

    def _hold(self, stream: Stream, lease: Lease) -> None:
        if stream in self.streams:
            stream.held[lease.task_id] = lease.epoch
            self._holders[lease.task_id] = stream
            self.refresh(stream)
