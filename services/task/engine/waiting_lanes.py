"""The lanes that are believed to hold tasks which an agent could take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.task.dispatch.streams import Stream
from services.task.domain.lanes import Lane
from services.task.engine.free_streams import FreeStreams, Place


class WaitingLanes:
    """By tenant, with a count for each capability."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, dict[int, Lane]] = {}
        self._crowds: dict[Place, int] = {}

    def __contains__(self, lane: Lane) -> bool:
        """Tell whether a lane waits."""
        return lane.id in self._by_tenant.get(lane.key.tenant, ())

    def tenants(self) -> Iterable[tuple[str, Mapping[int, Lane]]]:
        """Return the lanes of each tenant."""
        return self._by_tenant.items()

    def any_of(self, tenant: str) -> bool:
        """Tell whether any lane of a tenant waits."""
        return bool(self._by_tenant.get(tenant))

    def any_for(self, free: FreeStreams) -> bool:
        """Tell whether a lane waits for whose capability a stream is free."""
        return any(place in free for place in self._crowds)

    def any_before(self, stream: Stream) -> bool:
        """Tell whether tasks wait that this stream might do."""
        if not self._crowds:
            return False
        tenant = stream.agent.tenant
        return any(self._crowds.get((tenant, each)) for each in stream.capabilities)

    def add(self, lane: Lane) -> bool:
        """Have a lane wait; tell whether it didn't."""
        lanes = self._by_tenant.setdefault(lane.key.tenant, {})
        if lane.id in lanes:
            return False
        lanes[lane.id] = lane
        place = (lane.key.tenant, lane.key.capability)
        self._crowds[place] = self._crowds.get(place, 0) + 1
        return True

    def remove(self, lane: Lane) -> None:
        """Have a lane no longer wait."""
        lanes = self._by_tenant.get(lane.key.tenant, {})
        if lanes.pop(lane.id, None) is None:
            return
        place = (lane.key.tenant, lane.key.capability)
        self._crowds[place] -= 1
        if not self._crowds[place]:
            del self._crowds[place]
