"""The lanes that this replica knows, by their keys and by their ids."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from cachetools import LRUCache

from meshkit.database.engine import Database
from services.task.domain.lanes import Lane, LaneKey, plain_key
from services.task.engine.seating import Seating
from services.task.store import lanes as store

_KNOWN = 50_000
_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class _Found:
    """A lane that was found, and thereby marked as used, at this time of two clocks.

    One of them may be set back, and the other stands still while the machine sleeps.
    """

    lane: Lane
    wall: float
    monotonic: float

    def is_fresh(self, seconds: float) -> bool:
        """Tell whether that was less than so many seconds ago."""
        return (
            time.monotonic() - self.monotonic < seconds
            and -seconds < time.time() - self.wall < seconds
        )


class LaneBook:
    """Finds and adds lanes, and tells the seating which of them hold tasks.

    A lane that holds no tasks and was not found by anybody for long is removed. Whoever
    makes a task for one must have found it less than `fresh` seconds ago, a fraction of
    that time: so no task gets into a lane that is not there.
    """

    def __init__(self, database: Database, seating: Seating, *, fresh: float) -> None:
        self._database = database
        self._seating = seating
        self._fresh = fresh
        self._by_key: LRUCache[LaneKey, _Found] = LRUCache(_KNOWN)
        self._plain: LRUCache[tuple[str, str, int], _Found] = LRUCache(_KNOWN)
        self._learned: dict[int, float] = {}
        self._forgot = time.monotonic()

    def known_plain(self, tenant: str, capability: str, priority: int) -> Lane | None:
        """Return the lane of tasks that ask for nothing, if it is known."""
        found = self._plain.get((tenant, capability, priority))
        return found.lane if found is not None and found.is_fresh(self._fresh) else None

    async def lane_of(self, key: LaneKey, weight: float) -> Lane:
        """Return the lane of a key, made if there is none."""
        found = self._by_key.get(key)
        if found is not None and found.lane.weight == weight and found.is_fresh(self._fresh):
            return found.lane
        wall, monotonic = time.time(), time.monotonic()
        lane = await self._database.transaction(
            lambda connection: store.find_or_add(connection, key, weight)
        )
        self._learn(lane)
        found = self._by_key[key] = _Found(lane, wall, monotonic)
        if key == plain_key(key.tenant, key.capability, key.priority):
            self._plain[key.tenant, key.capability, key.priority] = found
        return lane

    async def wait_in(self, ids: Collection[int]) -> None:
        """Note that these lanes hold tasks."""
        unknown = [lane_id for lane_id in ids if lane_id not in self._seating.lanes]
        if unknown:
            for lane in await self._database.transaction(
                lambda connection: store.get_lanes(connection, unknown)
            ):
                self._learn(lane)
        for lane_id in ids:
            self._seating.queued(lane_id)

    async def look_for_waiting(self) -> None:
        """Find the lanes that hold tasks, whatever was said or missed."""
        after = 0
        while True:
            lanes = await self._database.transaction(
                lambda connection, after=after: store.list_holding(  # type: ignore[misc]
                    connection, after=after, most=_AT_A_TIME
                )
            )
            for lane in lanes:
                self._learn(lane)
                self._seating.queued(lane.id)
            if len(lanes) < _AT_A_TIME:
                return
            after = max(lane.id for lane in lanes)

    def _learn(self, lane: Lane) -> None:
        now = time.monotonic()
        self._seating.lanes[lane.id] = lane
        self._learned[lane.id] = now
        if now - self._forgot >= self._fresh:
            self._forgot = now
            self._forget_before(now - 2 * self._fresh)

    def _forget_before(self, earliest: float) -> None:
        """Forget what was not learned again for long; it is, should it be needed."""
        for lane_id in [each for each, learned in self._learned.items() if learned < earliest]:
            del self._learned[lane_id]
            self._seating.lanes.pop(lane_id, None)
