"""What callers want of auth, one method each."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.clock import Clock, SystemClock
from meshkit.database.engine import Database
from meshkit.errors import InvalidArgument, Unauthenticated, Unavailable
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.api_keys import refused
from meshkit.security.permissions import allows
from meshkit.security.principal import Principal
from services.auth import secrets
from services.auth.domain.keys import SERVICE_ROLE, ApiKey, SigningKey, permissions_of
from services.auth.errors import ApiKeyNotFound, RoleNotHeld
from services.auth.secrets import MasterKey
from services.auth.signing import Signer, Token, new_signing_key, public_keys
from services.auth.store import keys as store

log = structlog.get_logger()

_PUBLISHED_SECONDS = 5.0


class ApiKeys:
    """Creates, shows, checks and revokes API keys."""

    def __init__(
        self, database: Database, master: MasterKey, *, environment: str, ids: IdSource = uuid7
    ) -> None:
        self._database = database
        self._master = master
        self._environment = environment
        self._ids = ids

    async def create(
        self,
        caller: Principal,
        *,
        display_name: str,
        roles: Sequence[str],
        expire_time: datetime | None,
    ) -> tuple[ApiKey, str]:
        """Create a key in the caller's tenant; return it and, this once, the credential.

        Raises:
            RoleUnknown: A role doesn't exist.
            RoleNotHeld: A role allows more than the caller holds.
            InvalidArgument: The expiry lies in the past.
        """
        _check_grant(caller, roles)
        return await self.issue(
            tenant=caller.tenant,
            display_name=display_name,
            roles=roles,
            creator=caller.subject,
            expire_time=expire_time,
        )

    async def issue(
        self,
        *,
        tenant: str,
        display_name: str,
        roles: Sequence[str],
        creator: str,
        subject: str | None = None,
        expire_time: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key without asking who may; return it and, this once, the credential.

        Raises:
            RoleUnknown: A role doesn't exist.
            InvalidArgument: The expiry lies in the past.
        """
        permissions_of(roles)
        key_id, secret = self._ids(), secrets.new_secret()

        async def work(connection: AsyncConnection) -> ApiKey:
            created = await store.now(connection)
            if expire_time is not None and expire_time <= created:
                raise InvalidArgument("The expiry lies in the past.", field="api_key.expire_time")
            key = ApiKey(
                id=key_id,
                tenant=tenant,
                display_name=display_name,
                roles=tuple(roles),
                subject=subject or f"key:{key_id}",
                creator=creator,
                create_time=created,
                expire_time=expire_time,
            )
            await store.insert_api_key(connection, key, self._master.digest(secret))
            return key

        key = await self._database.transaction(work)
        log.info("key created", key_id=str(key.id), roles=key.roles)
        return key, secrets.compose(self._environment, key.id, secret)

    async def get(self, tenant: str, key_id: UUID) -> ApiKey:
        """Return a key of the tenant.

        Raises:
            ApiKeyNotFound: There is none.
        """
        return _found(await self._database.read(lambda tx: store.get_api_key(tx, tenant, key_id)))

    async def list(self, tenant: str, page: Keyset) -> KeysetPage[ApiKey]:
        """Return a page of the tenant's keys."""
        keys = await self._database.read(lambda tx: store.list_api_keys(tx, tenant, page))
        return keyset_page(keys, page, lambda key: {"id": key.id})

    async def revoke(self, tenant: str, key_id: UUID) -> ApiKey:
        """Revoke a key of the tenant; a revoked one stays as it is.

        Raises:
            ApiKeyNotFound: There is none.
        """
        key = _found(
            await self._database.transaction(lambda tx: store.revoke_api_key(tx, tenant, key_id))
        )
        log.info("key revoked", key_id=str(key.id))
        return key

    async def verify(self, credential: str) -> Principal:
        """Return whom an API key speaks for.

        Raises:
            Unauthenticated: It is malformed, unknown, expired or revoked; which, is not said.
        """
        presented = secrets.parse(credential)
        if presented is None:
            raise refused()

        async def work(connection: AsyncConnection) -> tuple[ApiKey, bytes, datetime] | None:
            found = await store.find_secret(connection, presented.id)
            return None if found is None else (*found, await store.now(connection))

        found = await self._database.read(work)
        digest = self._master.digest(presented.secret)
        if found is None or not hmac.compare_digest(found[1], digest):
            raise refused()
        key, _, now = found
        if not key.works_at(now):
            raise refused()
        return Principal(key.subject, key.tenant, permissions_of(key.roles), key.expire_time)


class Tokens:
    """Signs access tokens and publishes the keys that verify them."""

    def __init__(
        self,
        database: Database,
        master: MasterKey,
        api_keys: ApiKeys,
        *,
        issuer: str,
        audience: str,
        lifetime: float,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._master = master
        self._api_keys = api_keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._clock = clock or SystemClock()
        self._signer: Signer | None = None
        self._published: list[SigningKey] | None = None
        self._published_at = 0.0

    async def exchange(self, api_key: str) -> Token:
        """Return an access token for an API key.

        Raises:
            Unauthenticated: The key is no good.
        """
        principal = await self._api_keys.verify(api_key)
        now = self._clock.now()
        if principal.expires_at is not None and principal.expires_at <= now:
            raise Unauthenticated("The API key has expired; use another one.")
        return (await self._current_signer()).sign(principal, now)

    async def signing_keys(self) -> list[SigningKey]:
        """Return the signing keys, the newest first; the first call ever makes one."""

        async def work(connection: AsyncConnection) -> list[SigningKey]:
            keys = await store.list_signing_keys(connection)
            if keys:
                return keys
            await store.lock_signing_keys(connection)
            keys = await store.list_signing_keys(connection)
            if not keys:
                keys = [new_signing_key(self._master, await store.now(connection))]
                await store.insert_signing_key(connection, keys[0])
            return keys

        return await self._database.transaction(work)

    async def published_keys(self) -> list[SigningKey]:
        """Return the signing keys as anybody may ask for them, read at most every few seconds.

        While the database is away, those read last.
        """
        now = self._clock.monotonic()
        if self._published is None or now - self._published_at > _PUBLISHED_SECONDS:
            try:
                self._published = await self.signing_keys()
                self._published_at = now
            except Unavailable:
                if self._published is None:
                    raise
        return self._published

    async def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Return the keys that verify tokens, by key id."""
        return public_keys(await self.signing_keys())

    async def _current_signer(self) -> Signer:
        if self._signer is None:
            keys = await self.signing_keys()
            self._signer = Signer(
                keys[0],
                self._master,
                issuer=self._issuer,
                audience=self._audience,
                lifetime=self._lifetime,
            )
        return self._signer


async def check_master_key(database: Database, master: MasterKey) -> None:
    """Make sure that what is stored was sealed under this master key.

    With another one no API key would be recognised and no token could be signed.

    Raises:
        MasterKeyWrong: It was sealed under another.
    """
    for key in await database.read(store.list_signing_keys):
        master.unseal(key.sealed_private_key)


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise ApiKeyNotFound
    return key


def _check_grant(caller: Principal, roles: Sequence[str]) -> None:
    for role in roles:
        permissions = permissions_of([role])
        covered = all(allows(caller.permissions, permission) for permission in permissions)
        if role == SERVICE_ROLE or not covered:
            raise RoleNotHeld(role)
