"""The pauses and build routings that this replica knows, as the database has them."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.dispatch.fitting import Routing
from services.task.dispatch.steering import Place
from services.task.domain.steering import BuildRouting, Pause, PauseKind
from services.task.engine.seating import Seating
from services.task.store import steering as store

log = structlog.get_logger()

_POLL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.5


class SteeringBook:
    """Loads what steers tasks: at the start, when told of a change, when a pause ends, by poll."""

    def __init__(self, database: Database, seating: Seating) -> None:
        self._database = database
        self._seating = seating
        self._woken = asyncio.Event()
        self._loaded = asyncio.Event()
        self._reading = asyncio.Lock()

    def wake(self, _payload: str = "") -> None:
        """Load soon: something has changed."""
        self._woken.set()

    async def known(self) -> None:
        """Wait until it is known what is paused, so that nothing goes out that is to wait."""
        await self._loaded.wait()

    async def load(self) -> float:
        """Load now; return the seconds until that must be done again.

        Raises:
            Unavailable: The database is away.
        """
        # One at a time, lest an earlier reading come in place of a later one.
        async with self._reading:
            pauses, routings, seconds = await self._database.transaction(_read)
            changed = self._seating.steering.replace(
                _places(pauses, PauseKind.CAPABILITY),
                _places(pauses, PauseKind.AGENT),
                {(each.tenant, each.capability): _routing(each) for each in routings},
            )
            self._loaded.set()
        if changed:
            self._seating.look()
        return seconds

    async def run(self) -> None:
        """Load until cancelled."""
        while True:
            self._woken.clear()
            try:
                seconds = await self.load()
            except DomainError as error:
                log.warning("can't load what is paused", cause=error.message)
                seconds = _RETRY_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                continue


async def _read(connection: AsyncConnection) -> tuple[list[Pause], list[BuildRouting], float]:
    pauses, now = await store.pauses_in_force(connection)
    # By the database's clock, whatever this host's says.
    left = [(each.until - now).total_seconds() for each in pauses if each.until and now]
    return pauses, await store.all_routings(connection), min([_POLL_SECONDS, *left])


def _places(pauses: list[Pause], kind: PauseKind) -> frozenset[Place]:
    return frozenset((pause.tenant, pause.target) for pause in pauses if pause.kind is kind)


def _routing(routing: BuildRouting) -> Routing:
    return Routing(routing.current_build_id, routing.ramping_build_id, routing.ramping_percent)
