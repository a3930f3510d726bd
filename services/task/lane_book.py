"""The lanes that this replica knows, by their keys and by their ids."""

from __future__ import annotations

from collections.abc import Collection

from cachetools import LRUCache

from meshkit.database.engine import Database
from services.task.domain.lanes import Lane, LaneKey, plain_key
from services.task.engine.seating import Seating
from services.task.store import lanes as store

_KNOWN = 50_000
_AT_A_TIME = 1000


class LaneBook:
    """Finds and adds lanes, and tells the seating which of them hold tasks."""

    def __init__(self, database: Database, seating: Seating) -> None:
        self._database = database
        self._seating = seating
        self._by_key: LRUCache[LaneKey, Lane] = LRUCache(_KNOWN)
        self._plain: LRUCache[tuple[str, str, int], Lane] = LRUCache(_KNOWN)

    def known_plain(self, tenant: str, capability: str, priority: int) -> Lane | None:
        """Return the lane of tasks that ask for nothing, if it is known."""
        return self._plain.get((tenant, capability, priority))

    async def lane_of(self, key: LaneKey, weight: float) -> Lane:
        """Return the lane of a key, made if there is none."""
        lane = self._by_key.get(key)
        if lane is None or lane.weight != weight:
            lane = await self._database.transaction(
                lambda connection: store.find_or_add(connection, key, weight)
            )
            self._learn(lane)
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
        key = lane.key
        self._by_key[key] = lane
        if key == plain_key(key.tenant, key.capability, key.priority):
            self._plain[key.tenant, key.capability, key.priority] = lane
        self._seating.lanes[lane.id] = lane
