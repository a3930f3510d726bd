"""Rate limits of single subjects."""

from __future__ import annotations

from dataclasses import dataclass

from meshkit.limits.rate import RateLimit


@dataclass(frozen=True, slots=True)
class Override:
    """A rate limit in place of the one that a subject's roles give it."""

    subject: str
    limit: RateLimit
