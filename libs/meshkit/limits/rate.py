"""What a rate limit says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RateLimit:
    """Up to `burst` calls at once, and `per_second` of them a second in the long run."""

    per_second: float
    burst: int
