"""Limits: how many tasks of a key run at a time, and how many start in a time.

Rates follow the generic cell rate algorithm (ITU-T I.371, Annex A): a bucket that
refills evenly, kept as the one time at which it will be full again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.task.domain.policy import LimitStrategy, Policy

FOR_GOOD: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Until when a limit is closed that only a caller opens again."""

_WITHOUT_BOUND: Final = 1_000_000
# Times are kept to the microsecond, so a bucket may look that much emptier than it is.
_TOLERANCE: Final = 1e-6
_NET: Final = timedelta(seconds=1)


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
        next_units: Units that the first of these takes, or fewer.
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
    next_units: int = 1
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
        if self._is_paused(now) or (self.places is not None and self.taken >= self.places):
            return False
        return self._opens(now, units) <= now

    def free_places(self, now: datetime) -> int:
        """Return how many tasks may start now, as far as places and pauses go."""
        if self._is_paused(now):
            return 0
        return _WITHOUT_BOUND if self.places is None else max(self.places - self.taken, 0)

    def free_units(self, now: datetime) -> int:
        """Return how many units may be taken now."""
        if self.units is None:
            return _WITHOUT_BOUND
        ahead = max((self.full_time - now).total_seconds(), 0.0) if self.full_time else 0.0
        return max(int((self.period - ahead + _TOLERANCE) / self._interval), 0)

    def room(self, now: datetime) -> int:
        """Return how many tasks may start now at most, each of at least one unit."""
        return min(self.free_places(now), self.free_units(now))

    def needed(self, units: int) -> int:
        """Return the units that a task takes which asks for so many."""
        # The bucket may have shrunk since.
        return units if self.units is None else min(units, self.units)

    def take(self, now: datetime, units: int) -> None:
        """Count the start of a task."""
        self.taken += 1
        if self.units is not None:
            filled = max(self.full_time or now, now)
            self.full_time = filled + timedelta(seconds=self.needed(units) * self._interval)

    def give_back(self) -> None:
        """Count the end of an attempt; the units stay used."""
        self.taken = max(self.taken - 1, 0)

    def wait(self, units: int) -> None:
        """Count a task that begins to wait."""
        self.next_units = min(self.next_units, units) if self.waiting else units
        self.waiting += 1

    def let_go(self) -> None:
        """Count a task that no longer waits."""
        self.waiting = max(self.waiting - 1, 0)

    def due_time(self, now: datetime) -> datetime | None:
        """Return when it is to be looked at unasked; None for never."""
        if not self.members:
            return self._rest_time(now)
        if not self.waiting or (self.places is not None and self.taken >= self.places):
            return None
        opens = max(self._opens(now, self.next_units), self.paused_until or now)
        # Those let through have taken no place yet. Each that does or ends lets others through;
        # the time is the net beneath.
        return opens if opens > now else now + _NET

    def is_spent(self, now: datetime) -> bool:
        """Tell whether nothing would be lost with it."""
        return not self.members and not self.taken and self._rest_time(now) is None

    def _rest_time(self, now: datetime) -> datetime | None:
        rests = max(self.full_time or now, self.paused_until or now)
        return rests if rests > now else None

    def _is_paused(self, now: datetime) -> bool:
        return self.paused_until is not None and now < self.paused_until

    @property
    def _interval(self) -> float:
        return self.period / (self.units or 1)

    def _opens(self, now: datetime, units: int) -> datetime:
        if self.units is None or self.full_time is None or self.full_time <= now:
            return now
        seconds = self.needed(units) * self._interval - self.period - _TOLERANCE
        return self.full_time + timedelta(seconds=seconds)


def units_of(policy: Policy, key: str) -> int:
    """Return the units that a task takes of a key."""
    return next((rate.units for rate in policy.rate_limits if rate.key == key), 1)
