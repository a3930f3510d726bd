"""The reaper: takes lapsed leases away and wakes tasks whose wait is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from meshkit.errors import DomainError
from services.task.usecases.attempts import Attempts

log = structlog.get_logger()


class Reaper:
    """Looks at the clock of the database, again and again; any number of replicas may run one."""

    def __init__(self, attempts: Attempts, wake: Callable[[str], None], *, interval: float) -> None:
        self._attempts = attempts
        self._wake = wake
        self._interval = interval

    async def run(self) -> None:
        """Reap until cancelled."""
        while True:
            try:
                await self.reap_once()
            except DomainError as error:
                log.warning("can't reap", cause=error.message)
            await asyncio.sleep(self._interval)

    async def reap_once(self) -> None:
        """Take away what has lapsed, and offer what is due."""
        if reaped := await self._attempts.reap():
            log.warning("leases lapsed", tasks=reaped)
        for tenant, capability in await self._attempts.due():
            self._wake(f"{tenant} {capability}")
