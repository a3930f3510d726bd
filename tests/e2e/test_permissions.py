"""What a viewer's key opens, of every RPC through the gateway, and what it doesn't."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.every_rpc import Answer, answers_of, by_grpc, by_json
from tests.e2e.forging import bearer
from tests.e2e.mesh import RunningMesh

VIEWER: Final = {
    "self:read",
    "self:update",
    "task:read",
    "agent:read",
    "tool:read",
    "invocation:read",
    "blob:read",
}
UNREADABLE: Final = Answer("INVALID_ARGUMENT", "INVALID_ARGUMENT")


@pytest.fixture
async def viewer(mesh: RunningMesh) -> dict[str, str]:
    async with mesh.client() as client:
        return bearer((await client.create_api_key("viewer", ["viewer"])).secret)


def wanted(permission: str) -> Answer:
    """What it is told: which permission it lacks, or that its request can't be read."""
    if permission in VIEWER:
        return UNREADABLE
    return Answer("PERMISSION_DENIED", "PERMISSION_DENIED", permission)


async def test_every_rpc_is_open_to_a_viewer_or_says_which_permission_it_lacks(
    mesh: RunningMesh, viewer: dict[str, str]
) -> None:
    async with by_grpc(mesh.url) as rpcs:
        answers = await answers_of(rpcs, lambda _: viewer)
    told = {rpc.name: answer for rpc, answer in answers if answer != wanted(rpc.permission)}
    assert told == {}
    assert {rpc.permission for rpc, answer in answers if answer == UNREADABLE} == VIEWER


async def test_every_route_that_is_closed_to_a_viewer_says_so(
    mesh: RunningMesh, viewer: dict[str, str]
) -> None:
    async with by_json(mesh.url) as rpcs:
        closed = [rpc for rpc in rpcs if rpc.permission not in VIEWER]
        answers = await answers_of(closed, lambda _: viewer)
    told = {rpc.name: answer for rpc, answer in answers if answer != wanted(rpc.permission)}
    assert told == {}
    assert len(answers) > 40
