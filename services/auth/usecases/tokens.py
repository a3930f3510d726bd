"""Access tokens, and the keys that sign them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.clock import Clock, SystemClock
from meshkit.database.engine import Database
from meshkit.errors import DomainError, PermissionDenied, Unauthenticated, Unavailable
from meshkit.security.credentials import CredentialVerifier
from meshkit.security.principal import Principal
from services.auth.domain.keys import SigningKey
from services.auth.domain.roles import narrowed
from services.auth.secrets import MasterKey
from services.auth.signing import Signer, Token, new_signing_key, public_keys
from services.auth.store import keys as store
from services.auth.usecases.keys import ApiKeys

log = structlog.get_logger()

_PUBLISHED_SECONDS: Final = 5.0
_SIGNER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 600.0
# Longer than any verifier keeps the keys that it has fetched.
PUBLISHED_AHEAD: Final = timedelta(minutes=10)
_LONGEST_LIFETIME: Final = timedelta(hours=2)


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
        key_lifetime: float = 30 * 86400.0,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._master = master
        self._api_keys = api_keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._key_lifetime = timedelta(seconds=key_lifetime)
        self._clock = clock or SystemClock()
        self._signer: Signer | None = None
        self._signer_at = 0.0
        self._published: list[SigningKey] | None = None
        self._published_at = 0.0

    async def exchange(self, api_key: str) -> Token:
        """Return an access token for an API key.

        Raises:
            Unauthenticated: The key is no good.
        """
        principal, now = await self._api_keys.verified(api_key)
        return await self.sign(principal, now)

    async def delegate(
        self,
        caller: Principal,
        subject_token: str,
        scopes: Sequence[str],
        verifier: CredentialVerifier,
    ) -> Token:
        """Return a token with which the caller acts for a principal (RFC 8693, 4.1).

        It allows what both may do and the scopes cover, and ends with the first of the two
        credentials that ends.

        Raises:
            Unauthenticated: The principal's token is no good.
            PermissionDenied: It belongs to another tenant, or nothing is left that it allows.
        """
        try:
            subject = await verifier.verify(subject_token)
        except Unauthenticated as error:
            raise Unauthenticated(
                "The subject token is not valid or has expired; get a new one.",
                field="subject_token",
            ) from error
        if subject.tenant != caller.tenant:
            raise PermissionDenied("The subject token belongs to another tenant.")
        permissions = narrowed(narrowed(subject.permissions, caller.permissions), scopes)
        if not permissions or not caller.permissions:
            raise PermissionDenied("There is nothing that both of you may do within these scopes.")
        ends = [each for each in (subject.expires_at, caller.expires_at) if each is not None]
        principal = replace(
            subject,
            permissions=permissions,
            expires_at=min(ends, default=None),
            actors=(caller.subject, *caller.actors),
            actor_credentials=(caller.credential_id, *caller.actor_credentials),
            rate_limit=caller.rate_limit,
            tenants=(),
        )
        return await self.sign(principal, await self._database.read(store.now))

    async def sign(self, principal: Principal, now: datetime) -> Token:
        """Sign a token for a principal, as of a time by the database's clock.

        The time must be from before what the principal may do was read.

        Raises:
            Unauthenticated: Its credential has expired.
        """
        if principal.expires_at is not None and principal.expires_at <= now:
            raise Unauthenticated("The credential has expired; use another one.")
        return (await self._current_signer()).sign(principal, now)

    async def sign_text(self, text: str) -> tuple[str, bytes]:
        """Sign any text; return the id of the key and the signature."""
        return (await self._current_signer()).sign_text(text)

    async def signing_keys(self) -> list[SigningKey]:
        """Return the signing keys, the newest first; the first call ever makes one."""

        async def work(connection: AsyncConnection) -> list[SigningKey]:
            keys = await store.list_signing_keys(connection)
            if keys:
                return keys
            await store.lock_signing_keys(connection)
            keys = await store.list_signing_keys(connection)
            if not keys:
                now = await store.now(connection)
                keys = [new_signing_key(self._master, now, sign_time=now)]
                await store.insert_signing_key(connection, keys[0])
            return keys

        return await self._database.transaction(work)

    async def rotate(self) -> SigningKey:
        """Make the next signing key, unless there is one already; return it.

        It is published at once, and signs once every verifier has had the time to fetch it.
        """

        async def work(connection: AsyncConnection) -> SigningKey:
            await store.lock_signing_keys(connection)
            newest = (await store.list_signing_keys(connection))[0]
            now = await store.now(connection)
            if newest.sign_time > now:
                return newest
            key = new_signing_key(self._master, now, sign_time=now + PUBLISHED_AHEAD)
            await store.insert_signing_key(connection, key)
            return key

        key = await self._database.transaction(work)
        self._published = None
        log.info("signing key made", key_id=key.id, sign_time=key.sign_time.isoformat())
        return key

    async def run(self) -> None:
        """Look after the signing keys until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.keep_fresh()
            except DomainError as error:
                log.warning("can't look after the signing keys", cause=error.message)

    async def keep_fresh(self) -> None:
        """Rotate a key that is old, and delete those whose tokens have all expired."""

        async def work(connection: AsyncConnection) -> bool:
            await store.lock_signing_keys(connection)
            keys = await store.list_signing_keys(connection)
            now = await store.now(connection)
            # The one that signs is the newest whose time has come; those before it are over.
            over = [key for key in keys if key.sign_time <= now][1:]
            signing_since = max((k.sign_time for k in keys if k.sign_time <= now), default=now)
            if now - signing_since > _LONGEST_LIFETIME:
                await store.delete_signing_keys(connection, [key.id for key in over])
            return now - keys[0].sign_time > self._key_lifetime

        if await self._database.transaction(work):
            await self.rotate()

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
        now = self._clock.monotonic()
        if self._signer is None or now - self._signer_at > _SIGNER_SECONDS:
            keys = await self.signing_keys()
            time = await self._database.read(store.now)
            key = next((each for each in keys if each.sign_time <= time), keys[-1])
            self._signer = Signer(
                key,
                self._master,
                issuer=self._issuer,
                audience=self._audience,
                lifetime=self._lifetime,
            )
            self._signer_at = now
        return self._signer


async def check_master_key(database: Database, master: MasterKey) -> None:
    """Make sure that what is stored was sealed under this master key.

    With another one no API key would be recognised and no token could be signed.

    Raises:
        MasterKeyWrong: It was sealed under another.
    """
    for key in await database.read(store.list_signing_keys):
        master.unseal(key.sealed_private_key)
