"""What callers and services want of rate limits, one method each."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.limits.limiter import Grant
from meshkit.limits.rate import RateLimit
from meshkit.paging import Keyset, KeysetPage, keyset_page
from services.auth.domain.limits import Override
from services.auth.errors import SubjectNotFound
from services.auth.store import keys
from services.auth.store import limits as store
from services.auth.usecases.revocations import Revocations

log = structlog.get_logger()

_STEP_SECONDS: Final = 0.1
_WALK_SECONDS: Final = 60.0


async def override_of(connection: AsyncConnection, tenant: str, subject: str) -> RateLimit | None:
    """Return the limit that takes the place of what a subject's roles give it, if there is one."""
    return await store.find_override(connection, tenant, subject)


class RateLimits:
    """Gives out the calls that callers have left, to all replicas of all services.

    A source for `meshkit.limits.limiter.Limiter`. Callers that have rested are forgotten in
    the background, which changes nothing for them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
        """Take up to `calls` calls of a subject's limit.

        Raises:
            Unavailable: The database can't be reached.
        """
        return await self._database.transaction(
            lambda tx: store.take_calls(tx, tenant, subject, limit, calls)
        )

    async def run(self) -> None:
        """Forget who has rested, in small steps, until cancelled."""
        place = store.BEGIN
        while True:
            await asyncio.sleep(_WALK_SECONDS if place == store.BEGIN else _STEP_SECONDS)
            try:
                place = await self.forget_some(place)
            except DomainError as error:
                log.warning("can't forget callers that have rested", cause=error.message)
                place = store.BEGIN

    async def forget_some(self, after: store.Place) -> store.Place:
        """Take one step of the walk over all callers; return where the next one begins.

        Raises:
            Unavailable: The database can't be reached.
        """
        place = await self._database.transaction(lambda tx: store.forget_rested(tx, after))
        return place or store.BEGIN


class Overrides:
    """Keeps the limits of single subjects."""

    def __init__(self, database: Database, changes: Revocations) -> None:
        self._database = database
        self._changes = changes

    async def put(self, tenant: str, override: Override) -> Override:
        """Store an override in place of an earlier one; it counts from the next call on.

        Raises:
            SubjectNotFound: There is no such user or key in the tenant.
        """

        async def work(connection: AsyncConnection) -> None:
            # Else one tenant could have what is known of another's callers be forgotten.
            if not await keys.has_subject(connection, tenant, override.subject):
                raise SubjectNotFound("rate_limit_override.subject")
            await store.put_override(connection, tenant, override)
            await self._changes.tell_of_change(connection, tenant, override.subject)

        await self._database.transaction(work)
        log.info("rate limit set", subject=override.subject, limit=override.limit)
        return override

    async def list(self, tenant: str, page: Keyset) -> KeysetPage[Override]:
        """Return a page of the tenant's overrides."""
        found = await self._database.read(lambda tx: store.list_overrides(tx, tenant, page))
        return keyset_page(found, page, lambda each: {"subject": each.subject})

    async def delete(self, tenant: str, subject: str) -> None:
        """Forget an override, if there is one."""

        async def work(connection: AsyncConnection) -> None:
            if await store.delete_override(connection, tenant, subject):
                await self._changes.tell_of_change(connection, tenant, subject)

        await self._database.transaction(work)
        log.info("rate limit reset", subject=subject)
