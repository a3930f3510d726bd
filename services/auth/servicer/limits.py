"""Serves `mesh.auth.v1.RateLimitService`: rate limits of single subjects."""

from __future__ import annotations

from typing import Final

from mesh.auth.v1 import rate_limit_pb2, rate_limit_service_pb2, rate_limit_service_pb2_grpc
from meshkit.filtering.fields import Kind
from meshkit.interceptors.chain import Context
from meshkit.paging import Ordering, SortKey, keyset
from meshkit.security.principal import current_principal
from services.auth.convert.limits import override_from_proto, override_to_proto
from services.auth.usecases.limits import Overrides

_BY_SUBJECT: Final = Ordering((SortKey("subject", Kind.STRING, descending=False),))


class RateLimitServicer(rate_limit_service_pb2_grpc.RateLimitServiceServicer):
    """Serves `mesh.auth.v1.RateLimitService`."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides

    async def PutRateLimitOverride(
        self, request: rate_limit_service_pb2.PutRateLimitOverrideRequest, context: Context
    ) -> rate_limit_pb2.RateLimitOverride:
        """Set the limit of a subject."""
        wanted = override_from_proto(request.rate_limit_override)
        return override_to_proto(await self._overrides.put(current_principal().tenant, wanted))

    async def ListRateLimitOverrides(
        self, request: rate_limit_service_pb2.ListRateLimitOverridesRequest, context: Context
    ) -> rate_limit_service_pb2.ListRateLimitOverridesResponse:
        """List the tenant's overrides."""
        tenant = current_principal().tenant
        wanted = keyset(request.page_size, request.page_token, _BY_SUBJECT, tenant)
        page = await self._overrides.list(tenant, wanted)
        return rate_limit_service_pb2.ListRateLimitOverridesResponse(
            rate_limit_overrides=[override_to_proto(each) for each in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteRateLimitOverride(
        self, request: rate_limit_service_pb2.DeleteRateLimitOverrideRequest, context: Context
    ) -> rate_limit_service_pb2.DeleteRateLimitOverrideResponse:
        """Give a subject the limit of its roles again."""
        await self._overrides.delete(current_principal().tenant, request.subject)
        return rate_limit_service_pb2.DeleteRateLimitOverrideResponse()
