"""Faults, and the schedule of them, which follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.mesh import REPLICAS
from tests.chaos.staff import AGENTS, CLIENTS

KINDS: Final = {
    "kill task": (6, 5.0),
    "kill agent": (5, 1.0),
    "kill client": (4, 1.0),
    "kill postgres": (3, 6.0),
    "kill auth": (1, 6.0),
    "kill registry": (1, 6.0),
    "kill analytics": (1, 6.0),
    "cut after commit": (4, 1.0),
    "stop agent past its lease": (3, 6.0),
    "stop task": (2, 3.0),
    "restart task, the next one after": (3, 7.0),
    "restart task, the next one first": (3, 14.0),
    "wrong host clock of task": (2, 5.0),
    "set clock ahead": (1, 1.0),
    "set clock back": (1, 10.0),
    "fill disk": (2, 12.0),
    "crash point": (8, 11.0),
}
"""The kinds of faults: how often each comes beside the others, and the seconds it takes or so."""

FILL_DISK: Final = "fill disk"

GRACEFUL: Final = frozenset(kind for kind in KINDS if kind.startswith("restart"))
"""Those that a caller who uses the SDK must not notice."""

_PAUSE_SECONDS: Final = 2.0
_FIRST: Final = 0.05
_LAST: Final = 0.9


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        after: Tasks that have been acknowledged before it.
        target: Name of the process; for a crash point that of the replica.
        point: The crash point and the hit at which, as the environment names it.
    """

    after: int
    kind: str
    target: str
    point: str = ""
    seconds: float = 0.0


def seconds_of(faults: Sequence[Fault]) -> float:
    """Return how long faults take, with a pause after each."""
    return sum(KINDS[fault.kind][1] + _PAUSE_SECONDS for fault in faults)


def every_point(tasks: int, points: Sequence[str]) -> list[Fault]:
    """Return a crash at the first and the second hit of every point, spread over the tasks."""
    crashes = [f"{point}=exit@{hit}" for point in points for hit in (1, 2)]
    step = tasks * 9 // 10 // max(len(crashes), 1)
    return [
        Fault(step * number, "crash point", REPLICAS[number % 2], crash)
        for number, crash in enumerate(crashes)
    ]


def schedule(
    seed: int, *, tasks: int, count: int, points: Sequence[str], kinds: Collection[str] = ()
) -> list[Fault]:
    """Return the faults of a run, in order, spread over its tasks.

    Args:
        seed: What they follow from.
        tasks: How many there are.
        count: How many faults.
        points: The crash points.
        kinds: Those to choose from; all if there are none.
    """
    chance = random.Random(f"{seed}:faults")  # noqa: S311 - a schedule, no secret
    chosen = {kind: weight for kind, (weight, _) in KINDS.items() if not kinds or kind in kinds}
    first, last = int(tasks * _FIRST), max(int(tasks * _LAST), int(tasks * _FIRST) + 1)
    at = sorted(chance.randrange(first, last) for _ in range(count))
    drawn = chance.choices(list(chosen), weights=list(chosen.values()), k=count)
    # Each point is hit for the first and for the second time before any is hit again.
    crashes = [f"{point}=exit@{hit}" for point in points for hit in (1, 2)]
    chance.shuffle(crashes)
    faults = []
    for after, kind in zip(at, drawn, strict=True):
        point = ""
        if kind == "crash point":
            point = crashes.pop(0)
            crashes.append(point)
        faults.append(Fault(after, kind, _target(chance, kind), point, chance.uniform(0.5, 2.5)))
    return faults


def _target(chance: random.Random, kind: str) -> str:
    words = kind.replace(",", " ").split()
    if kind == "cut after commit":
        return REPLICAS[1]
    if "task" in words or kind == "crash point":
        return chance.choice(REPLICAS)
    if "agent" in words:
        # The last one is that of the SDK.
        return f"agent-{chance.randrange(AGENTS + 1)}"
    if "client" in words:
        return f"client-{chance.randrange(CLIENTS)}"
    return words[-1]
