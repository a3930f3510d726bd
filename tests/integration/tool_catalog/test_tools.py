"""Creating and finding tools."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode, aio

from mesh.tool_catalog.v1.tool_catalog_service_pb2 import (
    CreateToolRequest,
    GetToolRequest,
    ListToolsRequest,
)
from mesh.tool_catalog.v1.tool_catalog_service_pb2_grpc import ToolCatalogServiceStub
from mesh.tool_catalog.v1.tool_pb2 import Tool
from meshkit.testing.refusals import reason_of, refusal
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from tests.integration.tool_catalog.tools import create, tool

MISSING = "01890000-0000-7000-8000-000000000000"

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "text": {"type": "string", "pattern": "^\\w+$", "maxLength": 1000, "default": None},
        "weights": {"type": "array", "items": {"$ref": "#/$defs/weight"}},
        "any \u0001 é 😀 name": True,
    },
    "$defs": {"weight": {"type": "number", "minimum": -1e308, "multipleOf": 0.1, "examples": []}},
    "required": ["text"],
    "additionalProperties": False,
}


async def names(catalog: ToolCatalogServiceStub, expression: str) -> list[str]:
    response = await catalog.ListTools(ListToolsRequest(filter=expression))
    return [f"{each.name} {each.version}" for each in response.tools]


async def test_a_tool_is_kept_whole(catalog: ToolCatalogServiceStub) -> None:
    sent = tool(tags=["nlp", "text"], input_schema=SCHEMA, output_schema={})

    created = await create(catalog, sent)

    assert created.creator == "key:operator"
    assert created.HasField("create_time")
    assert created.HasField("output_schema")
    assert created.input_schema == sent.input_schema
    assert MessageToDict(created.input_schema) == SCHEMA
    assert list(created.tags) == ["nlp", "text"]
    assert await catalog.GetTool(GetToolRequest(tool_id=created.id)) == created


async def test_an_output_schema_that_is_unset_stays_unset(catalog: ToolCatalogServiceStub) -> None:
    assert not (await create(catalog, tool())).HasField("output_schema")


async def test_each_version_exists_once(
    catalog: ToolCatalogServiceStub, stranger: ToolCatalogServiceStub
) -> None:
    first = await create(catalog, tool())
    second = await create(catalog, tool(version="1.1.0-rc.1"))

    with refusal(StatusCode.ALREADY_EXISTS, "TOOL_EXISTS", "tool.version"):
        await create(catalog, tool(capability="text.other"))

    assert await names(catalog, "") == ["count_words 1.1.0-rc.1", "count_words 1.0.0"]
    assert first.id != second.id
    assert (await create(stranger, tool())).id not in {first.id, second.id}


async def test_of_many_creations_at_once_one_wins(catalog: ToolCatalogServiceStub) -> None:
    answers = await asyncio.gather(
        *(create(catalog, tool()) for _ in range(10)), return_exceptions=True
    )

    refused = [reason_of(each) for each in answers if isinstance(each, aio.AioRpcError)]
    assert refused == ["TOOL_EXISTS"] * 9
    assert sum(isinstance(each, Tool) for each in answers) == 1


async def test_filters_select_by_name_version_capability_and_tag(
    catalog: ToolCatalogServiceStub,
) -> None:
    await create(catalog, tool("count", "1.0.0", tags=["text", "fast"]))
    await create(catalog, tool("count", "2.0.0", tags=["text"]))
    await create(catalog, tool("sum", "1.0.0", capability="csv.sum", tags=["table of figures"]))

    assert await names(catalog, "name = count") == ["count 2.0.0", "count 1.0.0"]
    assert await names(catalog, "version = 1.0.0") == ["sum 1.0.0", "count 1.0.0"]
    assert await names(catalog, "capability = csv.sum") == ["sum 1.0.0"]
    assert await names(catalog, "tag = text") == ["count 2.0.0", "count 1.0.0"]
    assert await names(catalog, 'tag = "table of figures"') == ["sum 1.0.0"]
    assert await names(catalog, "tag = fast AND name = count") == ["count 1.0.0"]
    assert await names(catalog, "tag = fast AND name = sum") == []
    assert await names(catalog, "tag:fast OR capability = csv*") == ["sum 1.0.0", "count 1.0.0"]
    assert await names(catalog, "-tag:fast AND version != 1.0.0") == ["count 2.0.0"]


async def test_a_filter_by_an_unknown_field_is_refused(catalog: ToolCatalogServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", "filter"):
        await catalog.ListTools(ListToolsRequest(filter="creator = me"))


async def test_pages_go_from_the_newest_to_the_oldest_and_end(
    catalog: ToolCatalogServiceStub,
) -> None:
    created = [await create(catalog, tool(f"tool_{number}", tags=["x"])) for number in range(5)]
    seen: list[str] = []
    token = ""
    while len(seen) < 5:
        request = ListToolsRequest(page_size=2, page_token=token, filter="tag = x")
        page = await catalog.ListTools(request)
        seen += [each.id for each in page.tools]
        token = page.next_page_token

    assert not token
    assert seen == sorted((each.id for each in created), reverse=True)
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await catalog.ListTools(ListToolsRequest(page_token="AAAA"))


async def test_another_tenants_tool_answers_as_a_missing_one_does(
    catalog: ToolCatalogServiceStub, stranger: ToolCatalogServiceStub
) -> None:
    mine = await create(catalog, tool())

    for tool_id in (mine.id, MISSING):
        with refusal(StatusCode.NOT_FOUND, "TOOL_NOT_FOUND", "tool_id"):
            await stranger.GetTool(GetToolRequest(tool_id=tool_id))
    assert await names(stranger, "") == []


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (tool("Count"), "tool.name"),
        (tool("a" * 65), "tool.name"),
        (tool(version="1.0"), "tool.version"),
        (tool(version="01.0.0"), "tool.version"),
        (tool(capability="Text"), "tool.capability"),
        (tool(tags=["a", "a"]), "tool.tags"),
        (tool(tags=[""]), "tool.tags[0]"),
        (tool(tags=[str(number) for number in range(33)]), "tool.tags"),
    ],
)
async def test_a_bad_tool_is_refused(
    catalog: ToolCatalogServiceStub, sent: Tool, field: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await create(catalog, sent)
    assert await names(catalog, "") == []


async def test_bad_requests_name_their_field(catalog: ToolCatalogServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "tool_id"):
        await catalog.GetTool(GetToolRequest(tool_id="count_words"))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "tool"):
        await catalog.CreateTool(CreateToolRequest())
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "page_size"):
        await catalog.ListTools(ListToolsRequest(page_size=-1))
    schemaless = tool()
    schemaless.ClearField("input_schema")
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "tool.input_schema"):
        await create(catalog, schemaless)


async def test_who_may_not_is_turned_away(served: Served, tokens: TokenFactory) -> None:
    nobody = ToolCatalogServiceStub(served.channel())
    reader = ToolCatalogServiceStub(served.channel(tokens.sign("tool:read")))

    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"):
        await nobody.ListTools(ListToolsRequest())
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await create(reader, tool())
    assert await names(reader, "") == []
