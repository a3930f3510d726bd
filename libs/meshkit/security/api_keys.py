"""Checking API keys with the auth service, remembered for a bounded time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cachetools import LRUCache

from meshkit.clock import Clock, SystemClock
from meshkit.errors import Unauthenticated, Unavailable
from meshkit.security.principal import Principal

ApiKeyCheck = Callable[[str], Awaitable[Principal]]
"""Asks whom an API key speaks for; raises Unauthenticated or Unavailable."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the check said and when; `principal` is None for a refused key."""

    principal: Principal | None
    checked_at: float


class CachedApiKeys:
    """Verifies API keys by a check whose answers it remembers.

    A good answer is trusted for `fresh_seconds`, and for `stale_seconds` while the
    check is unavailable; a refusal is trusted for `refusal_seconds`. Callers that
    ask for the same key at once share one check. Keys are held as digests only.
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
        self._pending: dict[bytes, asyncio.Task[Principal]] = {}

    async def verify(self, credential: str) -> Principal:
        """Return whom the key speaks for.

        Raises:
            Unauthenticated: The key is unknown, expired or revoked.
            Unavailable: The check is away and the key was not seen lately.
        """
        digest = hashlib.sha256(credential.encode()).digest()
        answer = self._answers.get(digest)
        if answer is not None and self._is_fresh(answer):
            return self._unwrap(answer)
        try:
            return await self._ask(digest, credential)
        except Unavailable:
            if answer is None or answer.principal is None or self._age(answer) > self._stale:
                raise
            return self._unwrap(answer)

    def _age(self, answer: _Answer) -> float:
        return self._clock.monotonic() - answer.checked_at

    def _is_fresh(self, answer: _Answer) -> bool:
        return self._age(answer) < (self._refusal if answer.principal is None else self._fresh)

    def _unwrap(self, answer: _Answer) -> Principal:
        principal = answer.principal
        if principal is None:
            raise refused()
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise refused()
        return principal

    async def _ask(self, digest: bytes, credential: str) -> Principal:
        pending = self._pending.get(digest)
        if pending is None:
            pending = asyncio.create_task(self._ask_once(digest, credential))
            self._pending[digest] = pending
            pending.add_done_callback(lambda _: self._pending.pop(digest, None))
        # A caller that gives up must not take the others' answer with it.
        return await asyncio.shield(pending)

    async def _ask_once(self, digest: bytes, credential: str) -> Principal:
        try:
            principal = await self._check(credential)
        except Unauthenticated:
            self._answers[digest] = _Answer(None, self._clock.monotonic())
            raise
        self._answers[digest] = _Answer(principal, self._clock.monotonic())
        return principal


def refused() -> Unauthenticated:
    """Make the one answer for every API key that is no good, whatever the cause."""
    return Unauthenticated("The API key is unknown, expired or revoked; use another one.")
