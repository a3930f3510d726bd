"""API keys."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import InvalidArgument, PermissionDenied
from meshkit.ids import IdSource, uuid7
from meshkit.limits.rate import RateLimit
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.api_keys import refused
from meshkit.security.principal import Principal
from services.auth import secrets
from services.auth.domain.keys import ApiKey
from services.auth.errors import ApiKeyNotFound
from services.auth.secrets import MasterKey
from services.auth.store import keys as store
from services.auth.usecases.permissions import Permissions
from services.auth.usecases.revocations import Revocations
from services.auth.usecases.roles import check_grant

log = structlog.get_logger()

_ANY_TENANT = "mesh:tenants"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be.

    Attributes:
        subject: Whom a call with it acts as; `key:<id>` if empty.
        scopes: It may do no more than these, if there are any.
        tenants: Further tenants that it may act in.
    """

    display_name: str
    roles: Sequence[str]
    expire_time: datetime | None = None
    subject: str = ""
    scopes: tuple[str, ...] = ()
    rate_limit: RateLimit | None = None
    tenants: tuple[str, ...] = ()
    rerolled_from: UUID | None = None


class ApiKeys:
    """Creates, shows, checks and revokes API keys."""

    def __init__(
        self,
        database: Database,
        master: MasterKey,
        permissions: Permissions,
        revocations: Revocations,
        *,
        environment: str,
        ids: IdSource = uuid7,
    ) -> None:
        self._database = database
        self._master = master
        self._permissions = permissions
        self._revocations = revocations
        self._environment = environment
        self._ids = ids

    async def create(self, caller: Principal, wanted: NewKey) -> tuple[ApiKey, str]:
        """Create a key in the caller's tenant; return it and, this once, the credential.

        Raises:
            RoleUnknown: A role doesn't exist.
            RoleNotHeld: A role allows more than the caller holds.
            PermissionDenied: It may act in other tenants, and the caller in not just any.
            InvalidArgument: The expiry lies in the past.
        """
        _check_tenants(caller, wanted.tenants, "api_key.tenants")
        return await self.issue(caller.tenant, wanted, caller.subject, caller=caller)

    async def issue(
        self, tenant: str, wanted: NewKey, creator: str, *, caller: Principal | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; who may is only asked of a caller.

        Raises:
            RoleUnknown, RoleNotHeld, InvalidArgument: As `create` does.
        """

        async def work(connection: AsyncConnection) -> tuple[ApiKey, str]:
            book = await self._permissions.book(connection, tenant)
            book.check_known(wanted.roles, "api_key.roles")
            if caller is not None:
                check_grant(book, caller, wanted.roles, "api_key.roles")
            return await self._insert(connection, tenant, wanted, creator)

        key, credential = await self._database.transaction(work)
        log.info("key created", key_id=str(key.id), roles=key.roles)
        return key, credential

    async def reroll(self, caller: Principal, key_id: UUID, grace: timedelta) -> tuple[ApiKey, str]:
        """Create a key that takes the place of another, which ends after `grace`.

        Raises:
            ApiKeyNotFound: There is none, or it has ended.
            RoleNotHeld, PermissionNotHeld, PermissionDenied: It allows more than the caller
                holds, by its roles, by those bound to its subject, or in other tenants.
        """

        async def work(connection: AsyncConnection) -> tuple[ApiKey, str]:
            old = _found(await store.get_api_key(connection, caller.tenant, key_id))
            now = await store.now(connection)
            if not old.works_at(now):
                raise ApiKeyNotFound
            book = await self._permissions.book(connection, caller.tenant)
            check_grant(book, caller, old.roles, "api_key_id")
            # The new one's secret is the caller's to use, with all that goes with its subject.
            await self._permissions.check_covers(connection, caller, old.subject, "api_key_id")
            _check_tenants(caller, old.tenants, "api_key_id")
            made = await self._insert(connection, caller.tenant, _like(old), caller.subject)
            if grace > timedelta(0):
                await store.end_key_at(connection, caller.tenant, key_id, now + grace)
                # Verifiers that know the key are to learn when it ends.
                await self._revocations.tell_of_change(connection, caller.tenant, old.subject)
            else:
                await store.revoke_api_key(connection, caller.tenant, key_id)
                await self._revocations.revoke(connection, caller.tenant, str(key_id))
            return made

        key, credential = await self._database.transaction(work)
        log.info("key rerolled", key_id=str(key.id), old_key_id=str(key_id))
        return key, credential

    async def get(self, tenant: str, key_id: UUID) -> ApiKey:
        """Return a key of the tenant.

        Raises:
            ApiKeyNotFound: There is none.
        """
        return _found(await self._database.read(lambda tx: store.get_api_key(tx, tenant, key_id)))

    async def list(self, tenant: str, name: str, page: Keyset) -> KeysetPage[ApiKey]:
        """Return a page of the tenant's keys, those whose name contains `name`."""
        keys = await self._database.read(lambda tx: store.list_api_keys(tx, tenant, name, page))
        return keyset_page(keys, page, lambda key: {"id": key.id})

    async def revoke(self, tenant: str, key_id: UUID) -> ApiKey:
        """Revoke a key of the tenant, everywhere at once; a revoked one stays as it is.

        Raises:
            ApiKeyNotFound: There is none.
        """

        async def work(connection: AsyncConnection) -> ApiKey:
            key = _found(await store.revoke_api_key(connection, tenant, key_id))
            await self._revocations.revoke(connection, tenant, str(key_id))
            return key

        key = await self._database.transaction(work)
        log.info("key revoked", key_id=str(key.id))
        return key

    async def count_uses(self, uses: Sequence[tuple[UUID, int, datetime]]) -> None:
        """Count uses of keys, each with how many and when the last was."""
        if uses:
            await self._database.transaction(lambda tx: store.count_uses(tx, uses))

    async def verify(self, credential: str) -> Principal:
        """Return whom an API key speaks for.

        Raises:
            Unauthenticated: It is malformed, unknown, expired or revoked; which, is not said.
        """
        principal, _ = await self.verified(credential)
        return principal

    async def verified(self, credential: str) -> tuple[Principal, datetime]:
        """Return the same, and the time from before it was looked up, by the database's clock.

        Raises:
            Unauthenticated: It is malformed, unknown, expired or revoked; which, is not said.
        """
        presented = secrets.parse(credential)
        if presented is None:
            raise refused()

        async def work(connection: AsyncConnection) -> tuple[Principal, datetime] | None:
            now = await store.now(connection)
            found = await store.find_secret(connection, presented.id)
            if found is None or not self._is_good(*found, presented.secret, now):
                return None
            return await self._principal(connection, found[0]), now

        checked = await self._database.read(work)
        if checked is None:
            raise refused()
        return checked

    def _is_good(self, key: ApiKey, digest: bytes, secret: str, now: datetime) -> bool:
        return hmac.compare_digest(digest, self._master.digest(secret)) and key.works_at(now)

    async def _principal(self, connection: AsyncConnection, key: ApiKey) -> Principal:
        held = await self._permissions.held(
            connection, key.tenant, key.subject, roles=key.roles, scopes=key.scopes
        )
        return Principal(
            key.subject,
            key.tenant,
            held.permissions,
            key.expire_time,
            credential_id=str(key.id),
            rate_limit=held.override or key.rate_limit or held.rate_limit,
            tenants=key.tenants,
        )

    async def _insert(
        self, connection: AsyncConnection, tenant: str, wanted: NewKey, creator: str
    ) -> tuple[ApiKey, str]:
        created = await store.now(connection)
        if wanted.expire_time is not None and wanted.expire_time <= created:
            raise InvalidArgument("The expiry lies in the past.", field="api_key.expire_time")
        key_id, secret = self._ids(), secrets.new_secret()
        key = ApiKey(
            id=key_id,
            tenant=tenant,
            display_name=wanted.display_name,
            roles=tuple(wanted.roles),
            subject=wanted.subject or f"key:{key_id}",
            creator=creator,
            create_time=created,
            expire_time=wanted.expire_time,
            scopes=wanted.scopes,
            rate_limit=wanted.rate_limit,
            tenants=wanted.tenants,
            rerolled_from=wanted.rerolled_from,
        )
        await store.insert_api_key(connection, key, self._master.digest(secret))
        return key, secrets.compose(self._environment, key.id, secret)


def _check_tenants(caller: Principal, tenants: Sequence[str], field: str) -> None:
    if tenants and not caller.may(_ANY_TENANT):
        raise PermissionDenied(
            f"To let a key act in other tenants takes the permission {_ANY_TENANT}.",
            field=field,
            metadata={"permission": _ANY_TENANT},
        )


def _like(old: ApiKey) -> NewKey:
    return NewKey(
        display_name=old.display_name,
        roles=old.roles,
        expire_time=old.expire_time,
        subject=old.subject,
        scopes=old.scopes,
        rate_limit=old.rate_limit,
        tenants=old.tenants,
        rerolled_from=old.id,
    )


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise ApiKeyNotFound
    return key
