"""Takes the calls of rate limits from the auth service."""

from __future__ import annotations

from typing import Final

from grpc import aio

from mesh.auth.v1 import guard_service_pb2, guard_service_pb2_grpc
from meshkit.limits.limiter import Grant
from meshkit.limits.messages import rate_limit_to_proto
from meshkit.limits.rate import RateLimit
from meshkit.statuses import from_peer_error

_TIMEOUT: Final = 0.5


class AuthSource:
    """Asks auth by `GuardService.AcquireCalls`, as the service whose channel it is given."""

    def __init__(self, channel: aio.Channel) -> None:
        self._guard = guard_service_pb2_grpc.GuardServiceStub(channel)

    async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
        """Take up to `calls` calls of a subject's limit.

        Raises:
            DomainError: Auth can't be reached, doesn't answer within half a second, or refuses.
        """
        request = guard_service_pb2.AcquireCallsRequest(
            tenant=tenant, subject=subject, rate_limit=rate_limit_to_proto(limit), calls=calls
        )
        try:
            response = await self._guard.AcquireCalls(request, timeout=_TIMEOUT)
        except aio.AioRpcError as error:
            raise from_peer_error(error) from error
        return Grant(response.calls, response.retry_after.ToNanoseconds() / 1e9)
