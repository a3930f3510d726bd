"""Between messages of rate limits and the domain."""

from __future__ import annotations

from mesh.auth.v1 import guard_service_pb2, rate_limit_pb2
from meshkit.limits.limiter import Grant
from meshkit.limits.messages import rate_limit_from_proto, rate_limit_to_proto
from services.auth.domain.limits import Override


def override_from_proto(message: rate_limit_pb2.RateLimitOverride) -> Override:
    """Decode an override."""
    return Override(message.subject, rate_limit_from_proto(message.rate_limit))


def override_to_proto(override: Override) -> rate_limit_pb2.RateLimitOverride:
    """Encode an override."""
    return rate_limit_pb2.RateLimitOverride(
        subject=override.subject, rate_limit=rate_limit_to_proto(override.limit)
    )


def grant_to_proto(grant: Grant) -> guard_service_pb2.AcquireCallsResponse:
    """Encode what was given; a wait is rounded up to the microsecond."""
    response = guard_service_pb2.AcquireCallsResponse(calls=grant.calls)
    if not grant.calls:
        response.retry_after.FromMicroseconds(int(grant.retry_after * 1e6) + 1)
    return response
