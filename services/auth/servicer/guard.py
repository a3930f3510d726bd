"""Serves `mesh.auth.v1.GuardService`: what services guard themselves with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from mesh.auth.v1 import guard_service_pb2, guard_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.limits.messages import rate_limit_from_proto
from meshkit.timestamps import to_timestamp
from services.auth.convert.limits import grant_to_proto
from services.auth.usecases.limits import RateLimits
from services.auth.usecases.revocations import Revocations


class GuardServicer(guard_service_pb2_grpc.GuardServiceServicer):
    """Serves `mesh.auth.v1.GuardService`."""

    def __init__(self, revocations: Revocations, rate_limits: RateLimits) -> None:
        self._revocations = revocations
        self._rate_limits = rate_limits

    async def WatchRevocations(
        self, request: guard_service_pb2.WatchRevocationsRequest, context: Context
    ) -> AsyncIterator[guard_service_pb2.WatchRevocationsResponse]:
        """Tell what has ended or changed."""
        async with aclosing(self._revocations.follow()) as parts:
            async for revocations in parts:
                yield guard_service_pb2.WatchRevocationsResponse(
                    revocations=[
                        guard_service_pb2.Revocation(
                            credential=each.credential, not_before=to_timestamp(each.not_before)
                        )
                        for each in revocations
                    ]
                )

    async def AcquireCalls(
        self, request: guard_service_pb2.AcquireCallsRequest, context: Context
    ) -> guard_service_pb2.AcquireCallsResponse:
        """Take calls of a rate limit for a service to give out."""
        limit = rate_limit_from_proto(request.rate_limit)
        grant = await self._rate_limits.acquire(
            request.tenant, request.subject, limit, request.calls
        )
        return grant_to_proto(grant)
