"""Revocations: written with what they follow from, and told to every verifier at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.errors import DomainError
from meshkit.security.revocations import Revocation, Revoked
from meshkit.security.tokens import PublicKeys, TokenVerifier
from meshkit.settings import IdentitySettings
from services.auth.store import revocations as store

log = structlog.get_logger()

Listener = Callable[[Sequence[Revocation]], None]
"""Takes revocations as they happen; some may come again."""

KEPT: Final = timedelta(hours=2)
"""A revocation is told for so long, which is longer than any token lives."""

_SWEEP_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 1.0


class Revocations:
    """Tells of what any replica has revoked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._missed = asyncio.Event()

    async def revoke(self, connection: AsyncConnection, tenant: str, credential: str) -> None:
        """Revoke a key or a session, by its id, with the transaction: it has ended for good."""
        await store.revoke(connection, tenant, credential)

    async def tell_of_change(
        self, connection: AsyncConnection, tenant: str, credential: str
    ) -> None:
        """Have a subject's, or a whole tenant's, permissions be asked for anew.

        `credential` is `user:<id>`, `key:<id>` or `tenant:<name>`.
        """
        await store.tell_of_change(connection, tenant, credential)

    async def follow(self) -> AsyncGenerator[Sequence[Revocation], None]:
        """Yield first what was revoked lately, then whatever is; some may come twice.

        Raises:
            Unavailable: The database is away.
        """
        queue: asyncio.Queue[Sequence[Revocation]] = asyncio.Queue()
        with self.heard_by(queue.put_nowait):
            yield await self._recent()
            while True:
                yield await queue.get()

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Have a listener told, within the block."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the replica does."""
        heard = Notifications(self._database.url, {store.CHANNEL: self._heard})
        return [heard.run(), self._catch_up(), self._sweep()]

    def _heard(self, payload: str) -> None:
        if not payload:
            self._missed.set()
            return
        seconds, _, credential = payload.partition(" ")
        self._tell([Revocation(credential, datetime.fromtimestamp(float(seconds), UTC))])

    def _tell(self, revocations: Sequence[Revocation]) -> None:
        for listener in list(self._listeners):
            listener(revocations)

    async def _catch_up(self) -> None:
        """Tell of all that was revoked lately, whenever some may have been missed."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            try:
                self._tell(await self._recent())
            except DomainError as error:
                log.warning("can't read what was revoked", cause=error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                self._missed.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                while await self._database.transaction(
                    lambda connection: store.delete_old(connection, KEPT)
                ):
                    pass
            except DomainError as error:
                log.warning("can't forget old revocations", cause=error.message)

    async def _recent(self) -> Sequence[Revocation]:
        return await self._database.read(lambda connection: store.recent(connection, KEPT))


class Signing(Protocol):
    """Knows the keys that verify tokens."""

    async def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Return them by key id."""
        ...


class OwnVerifier:
    """Checks the tokens that auth itself is called with, by its own keys and revocations.

    Attributes:
        tokens: The verifier.
    """

    def __init__(
        self, signing: Signing, revocations: Revocations, identity: IdentitySettings
    ) -> None:
        self._revocations = revocations
        self._revoked = Revoked()
        self.tokens = TokenVerifier(
            PublicKeys(signing.public_keys),
            issuer=identity.issuer,
            audience=identity.audience,
            revoked=self._revoked,
        )

    async def run(self) -> None:
        """Hear what any replica revokes, until cancelled."""
        while True:
            try:
                async with aclosing(self._revocations.follow()) as parts:
                    async for revocations in parts:
                        self._revoked.take(revocations)
            except DomainError as error:
                log.warning("can't read what was revoked", cause=error.message)
            await asyncio.sleep(_RETRY_SECONDS)
