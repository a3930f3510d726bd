"""Counts how often API keys are used at auth itself; other services tell of theirs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from meshkit.errors import DomainError
from meshkit.security.principal import Principal
from services.auth.usecases.keys import ApiKeys

log = structlog.get_logger()

_STORE_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 1.0


class CountedKeys:
    """Verifies API keys as `ApiKeys` does, and stores now and then how often each was used."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._uses: dict[UUID, int] = {}

    async def verify(self, credential: str) -> Principal:
        """Return whom an API key speaks for.

        Raises:
            Unauthenticated: It is no good.
        """
        principal = await self._api_keys.verify(credential)
        key_id = UUID(principal.credential_id)
        self._uses[key_id] = self._uses.get(key_id, 0) + 1
        return principal

    async def run(self) -> None:
        """Store the counts until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(_STORE_SECONDS)
                await self.store()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self.store()

    async def store(self) -> None:
        """Store what was counted since the last time; what can't be stored is not counted."""
        uses, self._uses = self._uses, {}
        now = datetime.now(UTC)
        try:
            await self._api_keys.count_uses([(key_id, n, now) for key_id, n in uses.items()])
        except DomainError as error:
            log.info("uses of keys are not counted", keys=len(uses), cause=error.message)
