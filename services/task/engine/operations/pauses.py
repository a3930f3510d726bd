"""Pauses: what is closed to tasks, and open again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from meshkit.errors import InvalidArgument
from services.task.domain.limits import FOR_GOOD
from services.task.domain.steering import Pause, PauseKind
from services.task.engine.changes import Changes
from services.task.engine.consequences import HoldLimit
from services.task.engine.needs import Needs
from services.task.errors import PauseNotFound


@dataclass(frozen=True, slots=True)
class BeginPause:
    """Makes a pause, in place of an earlier one of the same."""

    pause: Pause

    def need(self, needs: Needs) -> None:
        """Ask for nothing."""

    def apply(self, changes: Changes) -> Pause:
        """Make it; one of a key closes the key's limit.

        Raises:
            InvalidArgument: It would have ended before it began.
        """
        pause = replace(self.pause, create_time=changes.now)
        if pause.until is not None and pause.until <= changes.now:
            raise InvalidArgument(
                "The pause would have ended already; name a later time, or none.",
                field="pause.until",
            )
        changes.new_pauses.append(pause)
        changes.steered = True
        if pause.kind is PauseKind.KEY:
            changes.follow(HoldLimit(pause.tenant, pause.target, pause.until or FOR_GOOD))
        return pause


@dataclass(frozen=True, slots=True)
class EndPause:
    """Ends a pause."""

    tenant: str
    pause_id: UUID

    def need(self, needs: Needs) -> None:
        """Ask for it."""
        needs.pauses.add(self.pause_id)

    def apply(self, changes: Changes) -> None:
        """End it; what waited goes on.

        Raises:
            PauseNotFound: There is none.
        """
        pause = changes.pauses.pop(self.pause_id, None)
        if pause is None or pause.tenant != self.tenant:
            if changes.again:
                return
            raise PauseNotFound
        changes.ended_pauses.append(pause.id)
        changes.steered = True
        if pause.kind is PauseKind.KEY:
            changes.follow(HoldLimit(pause.tenant, pause.target, None))
