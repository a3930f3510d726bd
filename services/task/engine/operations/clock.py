"""The engine's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.task.engine.changes import Changes
from services.task.engine.needs import Needs


@dataclass(frozen=True, slots=True)
class ReadClock:
    """Tells the time that tasks are stamped with, after all that were made before."""

    def need(self, needs: Needs) -> None:
        """Ask for nothing."""

    def apply(self, changes: Changes) -> datetime:
        """Return the time."""
        return changes.now
