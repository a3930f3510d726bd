"""Holds callers to their rate limits."""

from __future__ import annotations

from meshkit.interceptors.chain import Call, Interceptor
from meshkit.limits.limiter import Limiter
from meshkit.security.delegation import PERMISSION


class Limit(Interceptor):
    """Counts each call of a caller that has a rate limit.

    A call that a service makes on behalf of a caller was counted where it came in.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def admit(self, call: Call) -> None:
        """Refuse the call if the caller has none left.

        Raises:
            RateLimited: It hasn't.
        """
        principal = call.principal
        if principal is None or principal.rate_limit is None:
            return
        if principal.actors and principal.may(PERMISSION):
            return
        await self._limiter.take(principal.tenant, principal.subject, principal.rate_limit)
