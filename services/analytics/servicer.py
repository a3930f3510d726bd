"""The RPCs of analytics: decode, delegate, encode."""

from __future__ import annotations

from mesh.analytics.v1 import analytics_service_pb2, analytics_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from services.analytics import convert
from services.analytics.usecases import Invocations


class AnalyticsServicer(analytics_service_pb2_grpc.AnalyticsServiceServicer):
    """Serves `mesh.analytics.v1.AnalyticsService`."""

    def __init__(self, invocations: Invocations) -> None:
        self._invocations = invocations

    async def BatchCreateInvocations(
        self, request: analytics_service_pb2.BatchCreateInvocationsRequest, context: Context
    ) -> analytics_service_pb2.BatchCreateInvocationsResponse:
        """Record invocations."""
        invocations = convert.invocations_from_proto(request)
        created = await self._invocations.record(current_principal().tenant, invocations)
        return analytics_service_pb2.BatchCreateInvocationsResponse(created=created)

    async def ListInvocations(
        self, request: analytics_service_pb2.ListInvocationsRequest, context: Context
    ) -> analytics_service_pb2.ListInvocationsResponse:
        """List the tenant's invocations."""
        tenant, expression = current_principal().tenant, request.filter
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant, expression)
        page = await self._invocations.list(tenant, convert.invocation_filter(expression), wanted)
        return analytics_service_pb2.ListInvocationsResponse(
            invocations=[convert.invocation_to_proto(each.invocation) for each in page.items],
            next_page_token=page.next_page_token,
        )

    async def GetOverview(
        self, request: analytics_service_pb2.GetOverviewRequest, context: Context
    ) -> analytics_service_pb2.Overview:
        """Answer totals, success rate and latency."""
        period = convert.period_from_proto(request)
        overview = await self._invocations.overview(current_principal().tenant, period)
        return convert.overview_to_proto(overview)
