"""Checking API keys with the auth service, remembered for a bounded time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from meshkit.clock import Clock, SystemClock
from meshkit.errors import Unauthenticated, Unavailable
from meshkit.security.principal import Principal
from meshkit.security.revocations import Revoked

ABOUT_API_KEY: Final = {"credential": "api_key"}
"""Metadata of the refusal of an API key, which tells it from one of the asking service's token."""

ApiKeyCheck = Callable[[str], Awaitable[Principal]]
"""Asks whom an API key speaks for; raises Unauthenticated or Unavailable."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whom the check said a key speaks for, and when."""

    principal: Principal
    checked_at: float


class CachedApiKeys:
    """Verifies API keys by a check whose answers it remembers.

    A good answer is trusted for `fresh_seconds`, and for `stale_seconds` while the
    check is unavailable; a refusal is trusted for `refusal_seconds`. Up to `size` of
    either are held, apart, so that a flood of bad keys drives no good one out.
    Callers that ask for the same key at once share one check. Keys are held as
    digests only.
    """

    def __init__(
        self,
        check: ApiKeyCheck,
        *,
        fresh_seconds: float,
        stale_seconds: float,
        refusal_seconds: float = 1.0,
        size: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        self._check = check
        self._fresh = fresh_seconds
        self._stale = stale_seconds
        self._refusal = refusal_seconds
        self._clock = clock or SystemClock()
        self._answers: LRUCache[bytes, _Answer] = LRUCache(maxsize=size)
        self._refused_at: LRUCache[bytes, float] = LRUCache(maxsize=size)
        self._pending: dict[bytes, asyncio.Task[Principal]] = {}
        self._news = 0
        self._uses: dict[str, int] = {}

    async def verify(self, credential: str) -> Principal:
        """Return whom the key speaks for.

        Raises:
            Unauthenticated: The key is unknown, expired or revoked.
            Unavailable: The check is away and the key was not seen lately.
        """
        digest = hashlib.sha256(credential.encode()).digest()
        answer = self._answers.get(digest)
        if answer is not None and self._is_within(self._fresh, answer.checked_at):
            return self._used(self._unexpired(answer.principal))
        refused_at = self._refused_at.get(digest)
        if refused_at is not None and self._is_within(self._refusal, refused_at):
            raise refused()
        try:
            return self._used(await self._ask(digest, credential))
        except Unavailable:
            # It may have been revoked since.
            answer = self._answers.get(digest)
            if answer is None or not self._is_within(self._stale, answer.checked_at):
                raise
            return self._used(self._unexpired(answer.principal))

    def forget_revoked(self, revoked: Revoked) -> None:
        """Forget what is to be checked anew."""
        self._news += 1
        for digest in [each for each, of in self._answers.items() if revoked.ends(of.principal)]:
            del self._answers[digest]

    def take_uses(self) -> dict[str, int]:
        """Return how often each key, by its id, was used since this was last asked."""
        uses, self._uses = self._uses, {}
        return uses

    def _used(self, principal: Principal) -> Principal:
        key_id = principal.credential_id
        self._uses[key_id] = self._uses.get(key_id, 0) + 1
        return principal

    def _is_within(self, seconds: float, since: float) -> bool:
        return self._clock.monotonic() - since < seconds

    def _unexpired(self, principal: Principal) -> Principal:
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise refused()
        return principal

    async def _ask(self, digest: bytes, credential: str) -> Principal:
        pending = self._pending.get(digest)
        if pending is None:
            # In a context of its own: the first caller's deadline is not the others'.
            asking = self._ask_once(digest, credential)
            pending = asyncio.create_task(asking, context=Context())
            self._pending[digest] = pending
            pending.add_done_callback(lambda _: self._pending.pop(digest, None))
        # A caller that gives up must not take the others' answer with it.
        return await asyncio.shield(pending)

    async def _ask_once(self, digest: bytes, credential: str) -> Principal:
        news = self._news
        try:
            principal = await self._check(credential)
        except Unauthenticated:
            self._answers.pop(digest, None)
            self._refused_at[digest] = self._clock.monotonic()
            raise
        # What was revoked meanwhile may be what was answered: it is asked for again next time.
        if news == self._news:
            self._answers[digest] = _Answer(principal, self._clock.monotonic())
        return principal


def refused() -> Unauthenticated:
    """Make the one answer for every API key that is no good, whatever the cause."""
    return Unauthenticated(
        "The API key is unknown, expired or revoked; use another one.", metadata=ABOUT_API_KEY
    )
