"""What callers want of queues: see them, pause them, route their tasks, see who is connected."""

from __future__ import annotations

from typing import Final, Protocol
from uuid import UUID

from meshkit.database.engine import Database
from meshkit.errors import InvalidArgument
from services.task.domain.connection import Connection
from services.task.domain.steering import BuildRouting, Pause
from services.task.engine.batch import STEERED
from services.task.engine.operations.pauses import BeginPause, EndPause
from services.task.engine.writer import Writer
from services.task.errors import QuotaExceeded
from services.task.store import connections, queues, steering
from services.task.store.queues import Queue

_MOST_QUEUES: Final = 1000
# Every replica keeps all of these in memory.
_MOST_PAUSES: Final = 1000
_MOST_ROUTINGS: Final = 1000
_MOST_CONNECTIONS: Final = 10_000


class Steered(Protocol):
    """What this replica knows of pauses and build routings."""

    async def load(self) -> object:
        """Learn them anew."""
        ...


class Told(Protocol):
    """What the replicas are told of this one's connections."""

    async def tell(self) -> None:
        """Tell them now."""
        ...


class Queues:
    """Shows and steers queues, each within the caller's tenant."""

    def __init__(self, database: Database, writer: Writer, steered: Steered, told: Told) -> None:
        self._database = database
        self._writer = writer
        self._steered = steered
        self._told = told

    async def list_queues(self, tenant: str) -> list[Queue]:
        """Return the queues in which something waits or runs, by capability."""
        found = await self._database.transaction(
            lambda connection: queues.list_queues(connection, tenant)
        )
        return found[:_MOST_QUEUES]

    async def pause(self, pause: Pause) -> Pause:
        """Begin a pause, in place of an earlier one of the same.

        When this returns, this replica gives out no more of what it holds; the others
        are told at once.

        Raises:
            InvalidArgument: It would have ended already.
            QuotaExceeded: There are too many.
        """
        others = await self._database.transaction(
            lambda connection: steering.count_other_pauses(connection, pause)
        )
        if others >= _MOST_PAUSES:
            raise QuotaExceeded("pauses", _MOST_PAUSES)
        begun: Pause = await self._writer.do(BeginPause(pause))
        await self._steered.load()
        return begun

    async def list_pauses(self, tenant: str) -> list[Pause]:
        """Return the pauses in force, the newest first."""
        return await self._database.transaction(
            lambda connection: steering.list_pauses(connection, tenant, _MOST_PAUSES)
        )

    async def end_pause(self, tenant: str, pause_id: UUID) -> None:
        """End a pause.

        Raises:
            PauseNotFound: There is none.
        """
        await self._writer.do(EndPause(tenant, pause_id))
        await self._steered.load()

    async def route(self, routing: BuildRouting) -> BuildRouting:
        """Say which builds get the tasks of a capability.

        Raises:
            InvalidArgument: A share goes to no build.
            QuotaExceeded: There are too many.
        """
        if routing.ramping_percent and not routing.ramping_build_id:
            raise InvalidArgument(
                "A share is given to no build; name the ramping one, or give it 0 percent.",
                field="routing.ramping_build_id",
            )
        others = await self._database.transaction(
            lambda connection: steering.count_other_routings(connection, routing)
        )
        if others >= _MOST_ROUTINGS:
            raise QuotaExceeded("build routings", _MOST_ROUTINGS)
        stored = await self._database.transaction(
            lambda connection: steering.set_routing(connection, routing, STEERED)
        )
        await self._steered.load()
        return stored

    async def list_routings(self, tenant: str) -> list[BuildRouting]:
        """Return the build routings, by capability."""
        return await self._database.transaction(
            lambda connection: steering.list_routings(connection, tenant, _MOST_ROUTINGS)
        )

    async def end_routing(self, tenant: str, capability: str) -> None:
        """End the routing of a capability, if there is one."""
        await self._database.transaction(
            lambda connection: steering.delete_routing(connection, tenant, capability, STEERED)
        )
        await self._steered.load()

    async def list_connections(self, tenant: str) -> list[Connection]:
        """Return who is connected to any replica, by name.

        What other replicas hold is as it was a few seconds ago.
        """
        await self._told.tell()
        return await self._database.transaction(
            lambda connection: connections.list_connections(connection, tenant, _MOST_CONNECTIONS)
        )
