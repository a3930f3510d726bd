"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still at the present until it is moved."""

    def __init__(self) -> None:
        self._began = datetime.now(UTC)
        self._seconds = 0.0

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._seconds += seconds

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return 1_000.0 + self._seconds
