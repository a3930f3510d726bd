"""How long to wait before another attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from services.task.domain.policy import Retry


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits of tasks whose policy names none; seconds.

    `chance` gives a number of 0 to 1 for the jitter.
    """

    initial: float
    maximum: float
    chance: Callable[[], float] = random.random

    def delay(self, retry: Retry, attempt: int) -> float:
        """Return the seconds to wait after the failure of the `attempt`-th attempt, from 1.

        Grows exponentially to the maximum; the jitter takes away up to its share.
        """
        initial = self.initial if retry.initial_backoff is None else retry.initial_backoff
        maximum = self.maximum if retry.max_backoff is None else retry.max_backoff
        # Bounded exponent: a patient task would overflow a float.
        grown = initial * max(retry.multiplier, 1.0) ** min(attempt - 1, 64)
        return min(grown, maximum) * (1 - retry.jitter * self.chance())
