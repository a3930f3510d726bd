"""What a run came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

_MOST_SHOWN: Final = 5


@dataclass
class Findings:
    """What the checker found; `problems` must be empty.

    Attributes:
        accepted: Tasks that were acknowledged to clients.
        tasks: Tasks that there are, with those whose acknowledgement was lost.
        executed: Tasks that agents saw.
        executions: Starts that agents saw.
        lapsed: Attempts that ended because their lease ran out.
        retried: Attempts that failed otherwise and were followed by another.
        given_back: Attempts that were given back, by agents or for them.
        refused: Reports that were refused.
        unknown: Calls whose outcome was unknown.
        sdk_calls: Calls of the SDK.
        visible: Those of them that failed visibly.
        noticed: Those that did so while no fault was there but graceful restarts.
    """

    problems: list[str] = field(default_factory=list)
    accepted: int = 0
    tasks: int = 0
    executed: int = 0
    executions: int = 0
    lapsed: int = 0
    retried: int = 0
    given_back: int = 0
    refused: int = 0
    unknown: int = 0
    sdk_calls: int = 0
    visible: int = 0
    noticed: int = 0
    states: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, offenders: Iterable[Any]) -> int:
        """Note a problem, if there are offenders; return how many there are."""
        listed = [str(each) for each in offenders]
        if listed:
            self.problems.append(f"{len(listed)} {what}: {'; '.join(listed[:_MOST_SHOWN])}")
        return len(listed)

    @property
    def repeated(self) -> float:
        """Percentage of executions beyond the first of each task."""
        return 100 * (self.executions - self.executed) / max(self.executed, 1)
