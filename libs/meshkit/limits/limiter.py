"""Holds callers to their rate limits, whichever replica they call."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol

import structlog
from cachetools import LRUCache

from meshkit.clock import Clock, SystemClock
from meshkit.errors import DomainError, ResourceExhausted
from meshkit.limits import gcra
from meshkit.limits.rate import RateLimit

log = structlog.get_logger()

LEASE_SECONDS: Final = 0.1
"""A lease holds what the rate gives in so many seconds."""

UNUSED_SECONDS: Final = 1.0
"""Calls of a lease that are not used within so many seconds are lost."""

_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a source gives.

    Attributes:
        calls: Calls given, 0 to those wanted.
        retry_after: If none: seconds until there is one.
    """

    calls: int
    retry_after: float


class Source(Protocol):
    """Where all replicas take the calls from that they let in."""

    async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
        """Take up to `calls` calls of a subject's limit.

        Raises:
            DomainError: There is no telling now.
        """
        ...


class RateLimited(ResourceExhausted):
    """The caller has used up its rate limit."""

    reason = "RATE_LIMITED"

    def __init__(self, limit: RateLimit, retry_after: float) -> None:
        super().__init__(
            f"You call too often: {limit.per_second:g} calls a second are allowed, {limit.burst}"
            " at once. Wait as long as this answer says, and spread your calls.",
            retry_after=retry_after,
        )


@dataclass(slots=True, eq=False)
class _Account:
    """What is known here of one caller; times are of the monotonic clock.

    Attributes:
        left: Calls of the lease that are not used yet.
        leased_at: When the lease was given.
        refused_until: There is no call before.
        waiting: Callers that wait for a lease.
        asking: The request for a lease that is under way.
        tat: Theoretical arrival time while the source is away.
    """

    tenant: str
    subject: str
    limit: RateLimit
    lease: int
    left: int = 0
    leased_at: float = 0.0
    refused_until: float = 0.0
    waiting: int = 0
    asking: asyncio.Task[bool] | None = None
    tat: float = gcra.NEVER


class Limiter:
    """Lets calls in by leases of the caller's limit, which it takes from the source.

    A lease holds about a tenth of a second's calls, at most a quarter of the burst and at
    least one: slow limits are exact across replicas, hot ones cost a request now and then,
    ahead of need. What is leased is used within a second or lost, so that at any replica a
    caller may be ahead by one and a half leases at most. A refusal is remembered until its
    time is over: a flood costs no requests.

    While the source is away the limiter fails open, within bounds: each process by itself
    holds the caller to the same limit, and asks the source again every second in the
    background. The callers seen last are remembered, up to `callers`.
    """

    def __init__(
        self, source: Source, *, clock: Clock | None = None, callers: int = 50_000
    ) -> None:
        self._source = source
        self._clock = clock or SystemClock()
        self._accounts: LRUCache[tuple[str, str, float, int], _Account] = LRUCache(callers)
        self._is_away = False
        self._ask_again_at = 0.0

    async def take(self, tenant: str, subject: str, limit: RateLimit) -> None:
        """Let a call in.

        Raises:
            RateLimited: The caller has none left now.
        """
        account = self._account(tenant, subject, limit)
        while not self._take_leased(account):
            now = self._clock.monotonic()
            if now + gcra.TOLERANCE < account.refused_until:
                raise RateLimited(limit, account.refused_until - now)
            if self._is_away:
                self._take_alone(account, now)
                return
            if not await self._lease(account):
                self._take_alone(account, self._clock.monotonic())
                return

    def _account(self, tenant: str, subject: str, limit: RateLimit) -> _Account:
        # Credentials of one subject may differ in their limits.
        key = (tenant, subject, limit.per_second, limit.burst)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(tenant, subject, limit, lease_size(limit))
        return account

    def _take_leased(self, account: _Account) -> bool:
        if not account.left:
            return False
        age = self._clock.monotonic() - account.leased_at
        if age > UNUSED_SECONDS:
            account.left = 0
            return False
        account.left -= 1
        # Who uses up less than half of its rate can as well wait for the next lease.
        if account.left * 2 < account.lease > 1 and age < 2 * LEASE_SECONDS:
            self._ask(account)
        return True

    async def _lease(self, account: _Account) -> bool:
        """Wait for the answer to a request for a lease; False if the source is away."""
        account.waiting += 1
        try:
            # A caller that gives up must not take the others' lease with it.
            return await asyncio.shield(self._ask(account))
        finally:
            account.waiting -= 1

    def _ask(self, account: _Account) -> asyncio.Task[bool]:
        """Have a lease on the way; all callers share one request."""
        if account.asking is None:
            # In a context of its own: the first caller's name and deadline are not the others'.
            account.asking = asyncio.create_task(self._ask_once(account), context=Context())
        return account.asking

    async def _ask_once(self, account: _Account) -> bool:
        limit = account.limit
        # Those that wait by now use what they get at once.
        wanted = min(max(account.lease, account.waiting), limit.burst)
        try:
            grant = await self._source.acquire(account.tenant, account.subject, limit, wanted)
        except DomainError as error:
            self._note_absence(error)
            return False
        finally:
            account.asking = None
        self._is_away = False
        now = self._clock.monotonic()
        if grant.calls:
            account.left += grant.calls
            account.leased_at = now
        else:
            account.refused_until = now + grant.retry_after
        return True

    def _note_absence(self, error: DomainError) -> None:
        if not self._is_away:
            log.warning("rate limits are held by each process alone", cause=error.message)
        self._is_away = True
        self._ask_again_at = self._clock.monotonic() + _RETRY_SECONDS

    def _take_alone(self, account: _Account, now: float) -> None:
        if self._is_away and now >= self._ask_again_at:
            self._ask_again_at = now + _RETRY_SECONDS
            self._ask(account)
        taken = gcra.take(account.tat, now, account.limit, 1)
        account.tat = taken.tat
        if not taken.calls:
            raise RateLimited(account.limit, taken.retry_after)


def lease_size(limit: RateLimit) -> int:
    """Return how many calls a lease of a limit holds."""
    return max(1, min(int(limit.per_second * LEASE_SECONDS), ceil(limit.burst / 4)))
