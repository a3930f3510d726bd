"""Inputs and results that are large, or no JSON."""

from __future__ import annotations

from typing import Any

from agentmesh import Agent, Content
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.sdk.parts import client_of, url_of, working


async def test_data_of_any_size_and_type_goes_both_ways(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("mirror")

    @agent.task("json.mirror")
    async def mirror(data: Any) -> Any:
        return data

    @agent.task("data.mirror")
    async def mirror_content(content: Content) -> Content:
        return content

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        for value in ({"text": "x" * 3_000_000}, {"small": 1}, [1, 2], "text", b"bytes"):
            assert (await client.run_task("json.mirror", value)).result == value
        for size in (10, 2_000_000):
            content = Content(b"%PDF" * size, "application/pdf")
            assert (await client.run_task("data.mirror", content)).result == content


async def test_what_is_large_is_fetched_when_it_is_wanted(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("mirror")

    @agent.task("json.mirror")
    async def mirror(data: dict[str, Any]) -> dict[str, Any]:
        return data

    url, value = url_of(small_mesh), {"text": "x" * 1_000_000}
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.run_task("json.mirror", value)
        assert task.input is None
        assert task.input_payload is not None
        assert task.input_payload.content_type == "application/json"
        assert await client.fetch_input(task) == value
        [listed] = [each async for each in client.list_tasks()]
        assert await client.fetch_result(listed) == value
