"""Looking whether there is a task for a free seat."""

from __future__ import annotations

from dataclasses import dataclass

from services.task.engine.changes import Changes
from services.task.engine.needs import Needs


@dataclass(frozen=True, slots=True)
class Look:
    """Changes nothing: whoever awaits it knows that free seats have been looked at since."""

    def need(self, needs: Needs) -> None:
        """Ask for nothing."""

    def apply(self, changes: Changes) -> None:
        """Change nothing."""
