"""How long to wait before the next try of something that keeps failing."""

import random
import time
from collections.abc import Callable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
FACTOR = 2.0
DOUBLINGS = 10
FORGET_AFTER_SECONDS = 60.0


class Backoff:
    """Double the wait with each failure, up to a bound; forget failures after a good minute.

    Half of each wait is random, so that parts which failed together don't return together.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        random_between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.failures = 0
        self._clock = clock
        self._random_between = random_between
        self._good_since: float | None = None

    def succeeded(self) -> None:
        """Note that it works from now on."""
        self._good_since = self._clock()

    def failed(self) -> float:
        """Note a failure and return the seconds to wait."""
        good_since, self._good_since = self._good_since, None
        if good_since is not None and self._clock() - good_since >= FORGET_AFTER_SECONDS:
            self.failures = 0
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * FACTOR ** min(self.failures, DOUBLINGS))
        self.failures += 1
        return self._random_between(longest / 2, longest)
