"""The audit log: appending to the tenants' chains, signing their heads, reading them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.audit.record import Decision, Record
from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.filtering import STRING, TIME, Filter, enum
from meshkit.filtering.fields import Fields, Kind
from meshkit.paging import Keyset, KeysetPage, Ordering, SortKey, keyset_page
from meshkit.security.principal import Principal
from services.auth.domain.audit import Checkpoint, Link, linked, statement
from services.auth.store import audit as store

log = structlog.get_logger()

FIELDS: Final[Fields] = {
    "subject": STRING,
    "actor": STRING,
    "method": STRING,
    "resource": STRING,
    "decision": enum(Decision),
    "service": STRING,
    "request_id": STRING,
    "time": TIME,
}
"""What records may be filtered by."""

LATEST_FIRST: Final = Ordering((SortKey("sequence", Kind.INTEGER, descending=True),))
"""The order of lists of records."""

LATEST_CHECKPOINT_FIRST: Final = Ordering(
    (*LATEST_FIRST.keys, SortKey("key_id", Kind.STRING, descending=True))
)
"""The order of lists of checkpoints; two keys may have signed the same head."""

Sign = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Signs a text by the current signing key; returns the id of the key and the signature."""

_SERVICE_SUBJECT: Final = "service:"
_EXPORT_PAGE: Final = 500
_NO_PAUSE: Final = timedelta(0)
_PATIENCE: Final = 5.0


class AuditLog:
    """Appends records to the chains of their tenants, and reads them. A `meshkit.audit.Sink`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, caller: Principal, records: Sequence[Record]) -> None:
        """Store what a service has decided; it speaks for no other service than itself."""
        if caller.subject.startswith(_SERVICE_SUBJECT):
            name = caller.subject.removeprefix(_SERVICE_SUBJECT)
            records = [replace(each, service=name) for each in records]
        await self.store(records)

    async def store(self, records: Sequence[Record]) -> None:
        """Append records, those with a known id not again; one transaction for each tenant.

        Raises:
            Unavailable: The database is away; some tenants' records may be stored.
        """
        tenants: dict[str, dict[object, Record]] = {}
        for record in records:
            tenants.setdefault(record.tenant, {}).setdefault(record.id, record)
        for tenant, once in tenants.items():
            await self._append(tenant, list(once.values()))

    async def list(self, tenant: str, wanted: Filter | None, page: Keyset) -> KeysetPage[Link]:
        """Return a page of the tenant's records, the latest first."""
        found = await self._database.read(lambda tx: store.list_records(tx, tenant, wanted, page))
        return keyset_page(found, page, lambda link: {"sequence": link.sequence})

    async def export(self, tenant: str, after: int) -> AsyncIterator[Link]:
        """Yield the tenant's records in the order of the chain, read page by page."""
        more = True
        while more:
            links = await self._page_after(tenant, after)
            for link in links:
                yield link
            more = len(links) == _EXPORT_PAGE
            after = links[-1].sequence if links else after

    async def list_checkpoints(self, tenant: str, page: Keyset) -> KeysetPage[Checkpoint]:
        """Return a page of the checkpoints of the tenant's chain, the latest first."""
        found = await self._database.read(lambda tx: store.list_checkpoints(tx, tenant, page))
        return keyset_page(
            found, page, lambda each: {"sequence": each.sequence, "key_id": each.key_id}
        )

    async def _page_after(self, tenant: str, after: int) -> Sequence[Link]:
        return await self._database.read(
            lambda tx: store.records_after(tx, tenant, after, _EXPORT_PAGE)
        )

    async def _append(self, tenant: str, records: Sequence[Record]) -> None:
        async def work(connection: AsyncConnection) -> None:
            head = await store.lock_chain(connection, tenant)
            known = await store.known_ids(connection, [record.id for record in records])
            links = linked(head, (record for record in records if record.id not in known))
            if links:
                await store.append(connection, tenant, links)

        await self._database.transaction(work)


class Checkpoints:
    """Signs the heads of the chains that have grown.

    Each at most once in `interval`, by whichever replica comes first, and once more on a clean
    stop; anew, too, once another key signs, so that the latest checkpoint of each chain is by
    a key that is published. What is appended after the last checkpoint is the part of a chain
    that nobody has signed yet.
    """

    def __init__(self, database: Database, sign: Sign, *, interval: float) -> None:
        self._database = database
        self._sign = sign
        self._interval = timedelta(seconds=interval)

    async def run(self) -> None:
        """Sign from time to time until cancelled, and then a last time."""
        try:
            while True:
                await asyncio.sleep(self._interval.total_seconds())
                await self._sign_or_say_why_not(self._interval)
        finally:
            await self._sign_or_say_why_not(_NO_PAUSE)

    async def sign_heads(self, pause: timedelta = _NO_PAUSE) -> None:
        """Sign the heads of the chains that have grown and were last signed `pause` ago.

        Raises:
            Unavailable: The database is away.
        """
        # What it signs here is nothing: only the key's name is wanted.
        key_id, _ = await self._sign("")
        for chain in await self._database.read(lambda tx: store.unsigned(tx, key_id, pause)):
            await self._sign_head(chain, pause)

    async def _sign_head(self, chain: store.Unsigned, pause: timedelta) -> None:
        key_id, signature = await self._sign(statement(chain.tenant, chain.head))
        text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        await self._database.transaction(
            lambda tx: store.insert_checkpoint(tx, chain, key_id, text, pause)
        )

    async def _sign_or_say_why_not(self, pause: timedelta) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.sign_heads(pause)
        except (DomainError, TimeoutError) as error:
            log.warning("audit chains are not signed", cause=repr(error))
