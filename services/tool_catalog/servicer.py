"""The RPCs of the tool catalogue: decode, delegate, encode."""

from __future__ import annotations

from uuid import UUID

from mesh.tool_catalog.v1 import tool_catalog_service_pb2, tool_catalog_service_pb2_grpc, tool_pb2
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from services.tool_catalog import convert
from services.tool_catalog.usecases import Tools


class ToolCatalogServicer(tool_catalog_service_pb2_grpc.ToolCatalogServiceServicer):
    """Serves `mesh.tool_catalog.v1.ToolCatalogService`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def CreateTool(
        self, request: tool_catalog_service_pb2.CreateToolRequest, context: Context
    ) -> tool_pb2.Tool:
        """Add a version of a tool."""
        definition = convert.definition_from_proto(request.tool)
        return convert.tool_to_proto(await self._tools.create(current_principal(), definition))

    async def GetTool(
        self, request: tool_catalog_service_pb2.GetToolRequest, context: Context
    ) -> tool_pb2.Tool:
        """Get one tool."""
        tenant = current_principal().tenant
        return convert.tool_to_proto(await self._tools.get(tenant, UUID(request.tool_id)))

    async def ListTools(
        self, request: tool_catalog_service_pb2.ListToolsRequest, context: Context
    ) -> tool_catalog_service_pb2.ListToolsResponse:
        """List the tenant's tools."""
        tenant, expression = current_principal().tenant, request.filter
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant, expression)
        page = await self._tools.list(tenant, convert.tool_filter(expression), wanted)
        return tool_catalog_service_pb2.ListToolsResponse(
            tools=[convert.tool_to_proto(tool) for tool in page.items],
            next_page_token=page.next_page_token,
        )
