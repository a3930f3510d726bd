"""Limits: how many tasks of a key run at a time, and how many start in a time.

Rates follow the generic cell rate algorithm (ITU-T I.371, Annex A): a bucket that
refills evenly, kept as the one time at which it will be full again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.task.domain.policy import LimitStrategy, Policy


@dataclass(slots=True)
class Limit:
    """The state of one key of one tenant; changed in place, within a transaction.

    Attributes:
        places: Most tasks that run at a time; None for without bound.
        taken: Tasks that run.
        members: Unfinished tasks that name the key.
        units: Size of the bucket; None for no rate limit.
        period: Seconds in which an empty bucket refills.
        full_time: When the bucket is full again; None for long since.
        waiting: Tasks that wait behind it.
        paused_until: No task starts before.
        turn: Lane that was last let through, for taking turns.
    """

    tenant: str
    key: str
    places: int | None = None
    strategy: LimitStrategy = LimitStrategy.QUEUE
    taken: int = 0
    members: int = 0
    units: int | None = None
    period: float = 1.0
    full_time: datetime | None = None
    waiting: int = 0
    paused_until: datetime | None = None
    turn: int = 0

    def define(self, policy: Policy) -> None:
        """Take over what a new task says of the limit."""
        for limit in policy.concurrency_limits:
            if limit.key == self.key:
                self.places, self.strategy = limit.limit, limit.strategy
        for rate in policy.rate_limits:
            if rate.key == self.key:
                self.units, self.period = rate.limit, rate.period

    def is_open(self, now: datetime, units: int) -> bool:
        """Tell whether a task that takes so many units may start now."""
        if self.paused_until is not None and now < self.paused_until:
            return False
        if self.places is not None and self.taken >= self.places:
            return False
        return self._opens(now, units) <= now

    def room(self, now: datetime) -> int:
        """Return how many tasks of one unit may start now."""
        if not self.is_open(now, 1):
            return 0
        free = 1_000_000 if self.places is None else self.places - self.taken
        if self.units is None:
            return free
        ahead = max((self.full_time - now).total_seconds(), 0.0) if self.full_time else 0.0
        return min(free, int((self.period - ahead) / self._interval + 1e-9))

    def take(self, now: datetime, units: int) -> None:
        """Count the start of a task."""
        self.taken += 1
        if self.units is not None:
            filled = max(self.full_time or now, now)
            self.full_time = filled + timedelta(seconds=min(units, self.units) * self._interval)

    def give_back(self) -> None:
        """Count the end of an attempt; the units stay used."""
        self.taken = max(self.taken - 1, 0)

    def due_time(self, now: datetime) -> datetime | None:
        """Return when those that wait may go on unasked; None if no time will tell."""
        if not self.waiting:
            return None
        if self.places is not None and self.taken >= self.places:
            return None
        return max(self._opens(now, 1), self.paused_until or now)

    @property
    def _interval(self) -> float:
        return self.period / (self.units or 1)

    def _opens(self, now: datetime, units: int) -> datetime:
        if self.units is None or self.full_time is None or self.full_time <= now:
            return now
        needed = min(units, self.units) * self._interval
        return self.full_time + timedelta(seconds=needed - self.period)


def units_of(policy: Policy, key: str) -> int:
    """Return the units that a task takes of a key."""
    return next((rate.units for rate in policy.rate_limits if rate.key == key), 1)
