"""Whose turn it is: priority first, shares within a priority, and nobody forgotten.

Within a priority the keys take turns by stride scheduling (Waldspurger and Weihl,
1995): each key has a pass that grows by 1/weight with each turn, and the lowest goes
next. Of ten turns, one goes to the next lower priority in rotation, so that a steady
stream of urgent work cannot starve the rest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Final

from services.task.domain.lanes import Lane

_EVERY: Final = 10
_FORGET_ABOVE: Final = 50_000

ShareKey = tuple[str, int, str]
"""Capability, priority and fairness key."""

Turn = tuple[float, int, deque[Lane]]
"""Pass of a share, the id of the lane that goes first, and its lanes, which take turns."""


class Turns:
    """The turns of one tenant's lanes at this replica."""

    def __init__(self) -> None:
        self._passes: dict[ShareKey, float] = {}
        self._floors: dict[int, float] = {}
        self._last: Round | None = None
        self._count = 0
        self._rotation = 0

    def round(self, lanes: Iterable[Lane]) -> Round:
        """Begin a round of turns among these lanes."""
        if len(self._passes) > _FORGET_ABOVE:
            self._passes.clear()
            self._floors.clear()
        elif self._last is not None:
            self._floors.update(self._last.passes)
        shares: dict[ShareKey, deque[Lane]] = {}
        for lane in lanes:
            shares.setdefault(_share(lane), deque()).append(lane)
        levels: dict[int, list[Turn]] = {}
        for share, alike in shares.items():
            turn = (self._pass_of(share), alike[0].id, alike)
            levels.setdefault(share[1], []).append(turn)
        for level in levels.values():
            heapq.heapify(level)
        self._last = Round(levels, self._count, self._rotation)
        return self._last

    def count(self, lane: Lane) -> None:
        """Count a turn that a lane has used."""
        share = _share(lane)
        self._passes[share] = self._pass_of(share) + 1.0 / lane.weight
        self._count += 1
        self._rotation += self._count % _EVERY == 0

    def _pass_of(self, share: ShareKey) -> float:
        # A key that was away starts where the others are.
        return max(self._passes.get(share, 0.0), self._floors.get(share[1], 0.0))


class Round:
    """One round of turns as they would go; lanes drop out as they can take no more.

    Attributes:
        passes: Of the last turn of each priority: where its keys are.
    """

    def __init__(self, levels: dict[int, list[Turn]], count: int, rotation: int) -> None:
        self.passes: dict[int, float] = {}
        self._levels = levels
        self._order = sorted(levels, reverse=True)
        self._count = count
        self._rotation = rotation

    def next(self) -> Lane | None:
        """Return the lane whose turn it is; None once all have dropped out."""
        if not self._order:
            return None
        return self._levels[self._level()][0][2][0]

    def take(self, lane: Lane) -> None:
        """Count the turn of the lane whose turn it is."""
        heap = self._levels[lane.key.priority]
        current, _, alike = heap[0]
        alike.rotate(-1)
        heapq.heapreplace(heap, (current + 1.0 / lane.weight, alike[0].id, alike))
        self.passes[lane.key.priority] = current
        self._count += 1
        self._rotation += self._count % _EVERY == 0

    def drop(self, lane: Lane) -> None:
        """Leave the lane whose turn it is out of the rest of the round."""
        heap = self._levels[lane.key.priority]
        current, _, alike = heap[0]
        alike.popleft()
        if alike:
            heapq.heapreplace(heap, (current, alike[0].id, alike))
            return
        heapq.heappop(heap)
        if not heap:
            self._order.remove(lane.key.priority)

    def _level(self) -> int:
        if len(self._order) == 1 or (self._count + 1) % _EVERY:
            return self._order[0]
        return self._order[1 + self._rotation % (len(self._order) - 1)]


def _share(lane: Lane) -> ShareKey:
    return lane.key.capability, lane.key.priority, lane.key.fairness_key
