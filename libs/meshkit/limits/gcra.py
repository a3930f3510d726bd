"""The generic cell rate algorithm (ITU-T I.371, Annex A), for several calls at once.

A caller's whole state is one time, its theoretical arrival time: when the bucket of
its calls is full again. Each call moves it on by `1 / per_second`, and no call is
given that would take it further ahead than `burst / per_second`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Final

from meshkit.limits.rate import RateLimit

TOLERANCE: Final = 1e-6
"""Seconds by which a call may come too early: databases keep times to the microsecond."""

NEVER: Final = float("-inf")
"""Theoretical arrival time of a caller that has not called."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a caller got.

    Attributes:
        calls: Calls given.
        tat: The caller's theoretical arrival time from now on, in seconds.
        retry_after: Seconds until there is a call again, if none was given; else 0.
    """

    calls: int
    tat: float
    retry_after: float


def take(tat: float, now: float, limit: RateLimit, calls: int) -> Taken:
    """Give as many of the calls wanted as the limit allows now.

    Over any time of T seconds never more than `burst + per_second * (T + TOLERANCE)` are
    given. A time further ahead than an empty bucket's, which a limit that was changed or a
    clock that was set back leaves behind, counts as an empty bucket's.
    """
    start = min(max(tat, now), now + limit.burst / limit.per_second)
    ahead = start - now
    free = floor(limit.burst - (ahead - TOLERANCE) * limit.per_second)
    given = max(min(free, calls), 0)
    return Taken(given, start + given / limit.per_second, 0.0 if given else wait(ahead, limit))


def wait(ahead: float, limit: RateLimit) -> float:
    """Return the seconds until there is a call, of a caller whose time is so far ahead of now."""
    return max(ahead - (limit.burst - 1) / limit.per_second, 0.0)
