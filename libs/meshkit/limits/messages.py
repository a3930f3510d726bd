"""Between rate limits and their messages."""

from __future__ import annotations

from mesh.auth.v1 import rate_limit_pb2
from meshkit.limits.rate import RateLimit


def rate_limit_to_proto(limit: RateLimit) -> rate_limit_pb2.RateLimit:
    """Encode a limit."""
    return rate_limit_pb2.RateLimit(per_second=limit.per_second, burst=limit.burst)


def rate_limit_from_proto(message: rate_limit_pb2.RateLimit) -> RateLimit:
    """Decode a limit; without a burst it is as many calls as in a second, but at least one."""
    return RateLimit(message.per_second, message.burst or max(int(message.per_second), 1))
