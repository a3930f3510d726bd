"""A plan of one round of claims: which lanes' tasks go to which seats."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.task.dispatch.streams import Stream
from services.task.domain.lanes import Lane
from services.task.domain.task import Task


class Seats(Protocol):
    """Where seats are taken and given back."""

    def seat(self, stream: Stream, task: Task) -> None:
        """Have a task sit on a seat that was reserved."""
        ...

    def give_back(self, stream: Stream) -> None:
        """Give back a seat that was reserved."""
        ...

    def count_turn(self, lane: Lane) -> None:
        """Note that a lane has used a turn."""
        ...


@dataclass(slots=True)
class Plan:
    """How many tasks of which lanes go to which seats.

    Attributes:
        seating: Where the seats are.
        seats: Of each lane, in the order in which its tasks get them.
        late: Lanes for which there is no preferred agent.
        early: Lanes whose tasks still wait for one, and for how many seconds.
    """

    seating: Seats
    seats: dict[int, deque[Stream]] = field(default_factory=dict)
    lanes: dict[int, Lane] = field(default_factory=dict)
    late: set[int] = field(default_factory=set)
    early: dict[int, float] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to claim."""
        return bool(self.seats)

    def claims(self) -> list[tuple[int, int]]:
        """Return of which lanes to claim, and how many tasks of each."""
        return [(lane, len(seats)) for lane, seats in self.seats.items()]

    def is_early(self, task: Task, now: datetime) -> bool:
        """Tell whether a claimed task still waits for a preferred agent."""
        if task.lane not in self.late:
            return False
        patience = self.lanes[task.lane].key.placement.patience
        left = patience - (now - task.ready_time).total_seconds()
        if left > 0:
            self.early[task.lane] = min(left, self.early.get(task.lane, left))
        return left > 0

    def pass_over(self, task: Task) -> None:
        """Give back the seat of a claimed task that must wait."""
        seats = self.seats.get(task.lane)
        if seats:
            self.seating.give_back(seats.popleft())

    def seat_for(self, task: Task) -> Stream | None:
        """Return the seat for a claimed task."""
        seats = self.seats.get(task.lane)
        if not seats:
            return None
        stream = seats.popleft()
        self.seating.seat(stream, task)
        self.seating.count_turn(self.lanes[task.lane])
        return stream
