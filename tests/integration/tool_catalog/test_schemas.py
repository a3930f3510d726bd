"""What becomes of schemas on their way through gRPC and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from grpc import StatusCode, aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.tool_catalog.v1.tool_catalog_service_pb2 import GetToolRequest
from mesh.tool_catalog.v1.tool_catalog_service_pb2_grpc import ToolCatalogServiceStub
from mesh.tool_catalog.v1.tool_pb2 import Tool
from meshkit.ids import uuid7
from meshkit.testing.refusals import refusal
from tests.integration.tool_catalog.tools import create, tool

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=JSON)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_json_in_a_schema_comes_back_as_it_was(
    catalog: ToolCatalogServiceStub, value: Any
) -> None:
    sent = tool(f"tool_{uuid7().hex}", input_schema={"type": "object", "default": value})

    created = await create(catalog, sent)

    assert created.input_schema == sent.input_schema
    assert await catalog.GetTool(GetToolRequest(tool_id=created.id)) == created


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({}, "#/type"),
        ({"type": "array"}, "#/type"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "#/properties/a/type"),
        ({"type": "object", "properties": {"a": {"$ref": "http://x.test/s"}}}, "#/properties/a/$r"),
    ],
)
async def test_a_bad_input_schema_is_refused_with_the_path_to_the_fault(
    catalog: ToolCatalogServiceStub, schema: dict[str, Any], path: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID", "tool.input_schema"):
        await create(catalog, tool(input_schema=schema))
    with pytest.raises(aio.AioRpcError, match=path.replace("$", r"\$")):
        await create(catalog, tool(input_schema=schema))


async def test_a_bad_output_schema_is_refused(catalog: ToolCatalogServiceStub) -> None:
    await create(catalog, tool("lists", output_schema={"type": "array"}))
    with refusal(StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID", "tool.output_schema"):
        await create(catalog, tool(output_schema={"type": "arrays"}))


def nested(levels: int) -> Tool:
    sent = tool("deep")
    inner = sent.input_schema
    for _ in range(levels - 1):
        inner = inner.get_or_create_struct("not")
    return sent


async def test_a_schema_may_be_nested_as_deeply_as_a_message_can_carry(
    catalog: ToolCatalogServiceStub,
) -> None:
    created = await create(catalog, nested(32))
    assert await catalog.GetTool(GetToolRequest(tool_id=created.id)) == created
    with refusal(StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID", "tool.input_schema"):
        await create(catalog, nested(33))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"):
        await create(catalog, nested(34))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
async def test_a_number_that_json_does_not_have_is_refused(
    catalog: ToolCatalogServiceStub, number: float
) -> None:
    sent = tool()
    sent.input_schema.MergeFrom(Struct())
    sent.input_schema["maximum"] = number
    with refusal(StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID", "tool.input_schema"):
        await create(catalog, sent)


async def test_an_error_that_quotes_a_large_schema_fits_a_header(
    catalog: ToolCatalogServiceStub,
) -> None:
    schema = {"type": "object", "required": ["same"] * 10_000}
    with refusal(StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID", "tool.input_schema"):
        await create(catalog, tool(input_schema=schema))
