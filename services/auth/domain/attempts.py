"""Failed sign-ins of an address, counted over a window of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Lockout:
    """How many failures lock an address, and for how long they count from the first."""

    failures: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Failures:
    """The failures of an address since `begin_time`."""

    count: int
    begin_time: datetime

    def locked_for(self, lockout: Lockout, now: datetime) -> timedelta | None:
        """Return how much longer the address is locked; None if it isn't."""
        left = self.begin_time + lockout.window - now
        return left if self.count >= lockout.failures and left > timedelta(0) else None
