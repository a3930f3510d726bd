"""Removes what is over: ended sessions, expired tokens, old failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.auth.settings import AuthSettings
from services.auth.store import leftovers as store

log = structlog.get_logger()

STEP: Final = 500
"""Most rows that one transaction removes."""

_PAUSE_SECONDS: Final = 0.1

Removal = Callable[[AsyncConnection, timedelta, int], Awaitable[int]]


class Leftovers:
    """Removes them in small steps; any number of replicas may."""

    def __init__(self, database: Database, settings: AuthSettings) -> None:
        self._database = database
        self._interval = settings.leftovers_interval
        self._removals: list[tuple[Removal, timedelta]] = [
            (store.remove_sessions, timedelta(seconds=settings.session_kept)),
            (store.remove_password_tokens, timedelta(0)),
            (store.remove_failures, timedelta(seconds=settings.sign_in_window)),
        ]

    async def run(self) -> None:
        """Remove until cancelled."""
        while True:
            try:
                await self.run_once()
            except DomainError as error:
                log.warning("can't remove ended sessions", cause=error.message)
            await asyncio.sleep(self._interval)

    async def run_once(self) -> int:
        """Remove all that is over now; return how many rows that were."""
        return sum([await self._in_steps(removal, age) for removal, age in self._removals])

    async def _in_steps(self, removal: Removal, age: timedelta) -> int:
        removed = 0
        while True:
            step = await self._database.transaction(lambda tx: removal(tx, age, STEP))
            removed += step
            if step < STEP:
                return removed
            await asyncio.sleep(_PAUSE_SECONDS)
