"""What the input of a task asks of its agent: succeed, fail, ask back, take its time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CAPABILITY: Final = "chaos.work"
FAMILY: Final = "chaos.family"
"""Work that consists of making children and waiting for them."""

FATAL: Final = "Fatal"
"""An error that the tasks' policies name as one after which there is no further attempt."""

_RETRY_AFTER: Final = 0.3


@dataclass(frozen=True, slots=True)
class Deed:
    """How an attempt is to end.

    Attributes:
        kind: "complete", "fail", "release" or "ask".
        pause_key: Limit that is to pause for `retry_after` seconds.
    """

    kind: str
    error: str = ""
    retryable: bool = False
    pause_key: str = ""
    retry_after: float = 0.0


def deed(said: Mapping[str, Any], *, attempt: int, epoch: int, answered: bool) -> Deed:
    """Return what an agent is to do that got this input."""
    if "asks" in said and not answered:
        return Deed("ask")
    if "final" in said:
        return Deed("fail", "Final")
    if "fatal" in said:
        return Deed("fail", FATAL, retryable=True)
    if attempt <= said.get("fails", 0):
        key = str(said.get("throttles", ""))
        return Deed("fail", "Passing", True, key, _RETRY_AFTER if key else 0.0)
    if "release" in said and epoch == 1:
        return Deed("release")
    return Deed("complete")


def never_succeeds(said: Mapping[str, Any], max_attempts: int) -> bool:
    """Tell whether no agent that does what it is asked can bring the task to success."""
    return "final" in said or "fatal" in said or said.get("fails", 0) >= max_attempts


def answer_to(task_id: str) -> str:
    """Return what a task that asks is answered."""
    return f"answer to {task_id}"


def draw_input(chance: random.Random) -> dict[str, Any]:
    """Draw an input."""
    said: dict[str, Any] = {"work": chance.choice((0.0, 0.0, 0.0, 0.01, 0.05))}
    draw = chance.random()
    for share, more in _SHARES:
        if draw < share:
            return said | more
        draw -= share
    return said


_SHARES: Final[tuple[tuple[float, dict[str, Any]], ...]] = (
    (0.03, {"fails": 1}),
    (0.005, {"fails": 100}),
    (0.005, {"final": 1}),
    (0.01, {"fatal": 1}),
    (0.01, {"work": 0.5}),
    (0.01, {"release": 1}),
    (0.02, {"asks": 1}),
)
"""Shares of the tasks that are asked for something special."""
