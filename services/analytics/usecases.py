"""What callers want of analytics, one method each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.filtering import Filter
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from services.analytics import store
from services.analytics.domain import Invocation, Overview, Period, Recorded


class Invocations:
    """Records invocations, lists them and adds them up."""

    def __init__(self, database: Database, *, ids: IdSource = uuid7) -> None:
        self._database = database
        self._ids = ids

    async def record(self, tenant: str, invocations: Sequence[Invocation]) -> int:
        """Record those invocations that are not there yet; return how many were new."""
        if not invocations:
            return 0
        # One id, and those after it: they keep the order of the batch.
        first_record = self._ids()
        return await self._database.transaction(
            lambda tx: store.insert_invocations(tx, tenant, invocations, first_record)
        )

    async def list(self, tenant: str, wanted: Filter | None, page: Keyset) -> KeysetPage[Recorded]:
        """Return a page of the tenant's invocations; None for `wanted` selects all of them."""
        records = await self._database.transaction(
            lambda tx: store.list_invocations(tx, tenant, wanted, page)
        )
        return keyset_page(records, page, lambda record: {"id": record.record_id})

    async def overview(self, tenant: str, period: Period) -> Overview:
        """Add up the tenant's invocations that ended in the period."""

        async def work(connection: AsyncConnection) -> Overview:
            await store.begin_snapshot(connection)
            return Overview(
                totals=await store.total_all(connection, tenant, period),
                agents=await store.total_by_agent(connection, tenant, period),
                capabilities=await store.total_by_capability(connection, tenant, period),
            )

        return await self._database.transaction(work)
