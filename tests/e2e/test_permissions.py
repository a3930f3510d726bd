"""Every RPC through the gateway, over JSON and gRPC: closed unless opened."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from agentmesh.connection import Connection
from agentmesh.errors import from_rpc_error
from agentmesh.resources import NewApiKey
from mesh.common.v1 import options_pb2
from tests.e2e.mesh import RunningMesh

PROTOS = Path(__file__).parent.parent.parent / "protos"
VIEWER = {
    "self:read",
    "task:read",
    "agent:read",
    "tool:read",
    "invocation:read",
    "blob:read",
}
NOTHING: Any = b""
BODIES = ("post", "put", "patch")


def methods() -> list[MethodDescriptor]:
    """Every RPC that asks for a credential."""
    found: list[MethodDescriptor] = []
    for proto in sorted((PROTOS / "mesh").rglob("*_service.proto")):
        path = str(proto.relative_to(PROTOS))
        import_module(path.removesuffix(".proto").replace("/", ".") + "_pb2")
        file = descriptor_pool.Default().FindFileByName(path)
        found += [method for each in file.services_by_name.values() for method in each.methods]
    return [method for method in found if permission(method)]


def permission(method: MethodDescriptor) -> str:
    return str(method.GetOptions().Extensions[options_pb2.auth].permission)


METHODS = methods()
ROUTED = [each for each in METHODS if each.GetOptions().HasExtension(annotations_pb2.http)]
CLOSED_TO_VIEWERS = [each for each in METHODS if permission(each) not in VIEWER]
by_name = pytest.mark.parametrize("method", METHODS, ids=lambda each: each.full_name)


@pytest.fixture
async def viewer(mesh: RunningMesh) -> NewApiKey:
    async with mesh.client() as client:
        return await client.create_api_key("viewer", ["viewer"])


async def refusal_by_grpc(mesh: RunningMesh, method: MethodDescriptor, key: str) -> tuple[str, str]:
    """Call with an empty request and return code and reason of the refusal."""
    connection = Connection(mesh.url, key)
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = connection.metadata if key else ()
    async with connection.channel() as channel:
        # No bytes are an empty message of any type, and a stream of one is a unary request. Where
        # the caller streams, the refusal comes without one; grpc.aio would call a write that
        # meets it an internal error.
        request = None if method.client_streaming else iter([NOTHING])
        call: Any = channel.stream_stream(path)(request, metadata=metadata)
        with pytest.raises(aio.AioRpcError) as refused:
            await call.read()
    error = from_rpc_error(refused.value)
    assert error.metadata.get("permission") in (None, permission(method))
    return error.code, error.reason


async def refusal_by_json(mesh: RunningMesh, method: MethodDescriptor, key: str) -> httpx.Response:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    path = re.sub(r"\{[^}]*\}", "00000000-0000-7000-8000-000000000000", getattr(rule, verb))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=mesh.url, headers=headers) as client:
        return await client.request(verb, path, content="{}" if verb in BODIES else None)


@by_name
async def test_without_a_credential_every_rpc_is_closed(
    mesh: RunningMesh, method: MethodDescriptor
) -> None:
    assert await refusal_by_grpc(mesh, method, "") == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")


@by_name
async def test_with_a_wrong_credential_every_rpc_is_closed(
    mesh: RunningMesh, method: MethodDescriptor
) -> None:
    key = f"mesh_dev_{'0' * 32}_{'a' * 43}00000000"
    assert await refusal_by_grpc(mesh, method, key) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


@pytest.mark.parametrize("method", ROUTED, ids=lambda each: each.full_name)
async def test_without_a_credential_every_route_is_closed(
    mesh: RunningMesh, method: MethodDescriptor
) -> None:
    response = await refusal_by_json(mesh, method, "")
    assert response.status_code == 401
    assert response.json()["code"] == grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert response.json()["details"][0]["reason"] == "CREDENTIAL_MISSING"


@pytest.mark.parametrize("method", CLOSED_TO_VIEWERS, ids=lambda each: each.full_name)
async def test_a_viewer_is_told_which_permission_it_lacks(
    mesh: RunningMesh, viewer: NewApiKey, method: MethodDescriptor
) -> None:
    denied = ("PERMISSION_DENIED", "PERMISSION_DENIED")
    assert await refusal_by_grpc(mesh, method, viewer.secret) == denied
    if method in ROUTED:
        response = await refusal_by_json(mesh, method, viewer.secret)
        assert response.status_code == 403
        assert response.json()["details"][0]["metadata"] == {"permission": permission(method)}
