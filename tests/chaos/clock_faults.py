"""The database's clock set ahead and back, and what must hold of leases meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from tests.chaos.mesh import LEASE, ChaosMesh

_HOUR: Final = 3600.0
# Until each agent has renewed, and the leases of one that was killed have run out.
_PATIENCE: Final = 6 * LEASE
_POLL: Final = 0.2
_VICTIM: Final = "agent-0"
_VICTIMS_NAME: Final = "chaos-0"
# Some lapse for reasons of their own, such as the fault before this one.
_STRAY: Final = 3

_RUNNING: Final = "SELECT count(*) FROM tasks WHERE state = 'running' AND agent_name <> $1"
_LAPSED: Final = """
    SELECT count(*) FROM task_events
    WHERE position > $1 AND error_type = 'LeaseExpired' AND agent_name <> $2
"""
_UNDYING: Final = """
    SELECT count(*) FROM tasks
    WHERE state = 'running' AND lease_time > clock_timestamp() + 2 * $1 * interval '1 second'
"""


class ClockFaults:
    """Moves the clock by hours, and remembers by how many."""

    def __init__(self, mesh: ChaosMesh) -> None:
        self._mesh = mesh
        self._moved = 0.0

    async def set_ahead(self) -> float:
        """Set the clock an hour ahead, by which all leases lapse at once."""
        await self._move(_HOUR)
        return time.monotonic()

    async def set_back(self) -> list[str]:
        """Set the clock back by an hour while an agent dies; return what is wrong then.

        Leases of the dead agent must end about when they would have, and those of the
        others must not.
        """
        mark, running = await self._mesh.with_database(self._before)
        await self._move(-_HOUR)
        victim = self._mesh.staff.workers[_VICTIM]
        await victim.kill()
        await victim.start()
        deadline = time.monotonic() + _PATIENCE
        while undying := await self._count(_UNDYING, LEASE):
            if time.monotonic() > deadline:
                return [f"a clock set back keeps {undying} leases alive that nobody renews"]
            await asyncio.sleep(_POLL)
        lapsed = await self._count(_LAPSED, mark, _VICTIMS_NAME)
        if lapsed > _STRAY + running // 10:
            return [f"a clock set back ended {lapsed} leases, of {running} that were held"]
        return []

    async def set_right(self) -> None:
        """Undo what is left of it all, if the clock is behind."""
        if self._moved < 0:
            await self._move(-self._moved)

    async def _move(self, seconds: float) -> None:
        self._moved += seconds
        await self._mesh.move_clock(seconds)

    async def _count(self, query: str, *values: Any) -> int:
        return int(await self._mesh.with_database(lambda each: each.fetchval(query, *values)))

    async def _before(self, connection: Any) -> tuple[int, int]:
        mark = await connection.fetchval("SELECT coalesce(max(position), 0) FROM task_events")
        return mark, await connection.fetchval(_RUNNING, _VICTIMS_NAME)
