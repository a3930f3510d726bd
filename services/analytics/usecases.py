"""What callers want of analytics, one method each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Page, PageRequest, page_of
from services.analytics import store
from services.analytics.domain import Invocation, InvocationFilter, Overview, Period, Recorded


class Invocations:
    """Records invocations, lists them and adds them up."""

    def __init__(self, database: Database, *, ids: IdSource = uuid7) -> None:
        self._database = database
        self._ids = ids

    async def record(self, tenant: str, invocations: Sequence[Invocation]) -> int:
        """Record those invocations that are not there yet; return how many were new."""
        # Ids made within a millisecond are in no order; sorted, they keep that of the batch.
        record_ids = sorted(self._ids() for _ in invocations)
        records = [Recorded(*each) for each in zip(record_ids, invocations, strict=True)]
        return await self._database.transaction(
            lambda tx: store.insert_invocations(tx, tenant, records)
        )

    async def list(
        self, tenant: str, wanted: InvocationFilter, page: PageRequest
    ) -> Page[Recorded]:
        """Return a page of the tenant's invocations, the latest recorded first."""
        records = await self._database.transaction(
            lambda tx: store.list_invocations(tx, tenant, wanted, page)
        )
        return page_of(records, page, lambda record: record.record_id)

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
