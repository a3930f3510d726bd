"""The janitor: removes blobs that nobody needs, and what failed uploads left."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import structlog

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.blobs import descriptions
from services.task.blobs.stores import Stores

log = structlog.get_logger()

_BLOBS_AT_ONCE: Final = 10
_RETRY_SECONDS: Final = 600.0


class Janitor:
    """Removes what has expired by the clock of the database; any number of replicas may run one."""

    def __init__(self, database: Database, stores: Stores, *, interval: float) -> None:
        self._database = database
        self._stores = stores
        self._interval = interval

    async def run(self) -> None:
        """Clean up until cancelled."""
        while True:
            try:
                await self.run_once()
            except DomainError as error:
                log.warning("can't remove blobs", cause=error.message)
            await asyncio.sleep(self._interval)

    async def run_once(self) -> int:
        """Remove all that has expired, in small steps, and return how many blobs that were.

        One that can't be removed now is tried again some minutes later.
        """
        removed = 0
        while claimed := await self._claim():
            for blob_id, store in claimed:
                removed += await self._remove(blob_id, store)
        return removed

    async def _claim(self) -> list[tuple[UUID, str]]:
        claimed = await self._database.transaction(
            lambda tx: descriptions.claim_expired(tx, most=_BLOBS_AT_ONCE, seconds=_RETRY_SECONDS)
        )
        return list(claimed)

    async def _remove(self, blob_id: UUID, store: str) -> bool:
        if store not in self._stores:
            log.error("a blob can't be removed: its store is not set up", store=store)
            return False
        try:
            await self._stores[store].delete(blob_id)
            await self._database.transaction(lambda tx: descriptions.remove(tx, blob_id))
        except DomainError as error:
            log.warning("a blob can't be removed yet", blob=str(blob_id), cause=error.message)
            return False
        return True
