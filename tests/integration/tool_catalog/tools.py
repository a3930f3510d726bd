"""Tools to create in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from mesh.tool_catalog.v1.tool_catalog_service_pb2 import CreateToolRequest
from mesh.tool_catalog.v1.tool_catalog_service_pb2_grpc import ToolCatalogServiceStub
from mesh.tool_catalog.v1.tool_pb2 import Tool

OBJECT = {"type": "object"}


def tool(
    name: str = "count_words",
    version: str = "1.0.0",
    *,
    capability: str = "text.count",
    tags: Sequence[str] = (),
    input_schema: dict[str, Any] | None = None,
    output_schema: dict[str, Any] | None = None,
) -> Tool:
    """Write a tool; its input is any object, unless a schema is given."""
    return Tool(
        name=name,
        version=version,
        description="Counts words.",
        capability=capability,
        tags=tags,
        input_schema=ParseDict(OBJECT if input_schema is None else input_schema, Struct()),
        output_schema=None if output_schema is None else ParseDict(output_schema, Struct()),
    )


async def create(catalog: ToolCatalogServiceStub, sent: Tool) -> Tool:
    """Create a tool."""
    return await catalog.CreateTool(CreateToolRequest(tool=sent))
