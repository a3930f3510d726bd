"""What another tenant has can't be told from what there is not, at any RPC."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from agentmesh.connection import Connection
from gateway.contracts import Binding, bindings_of
from meshkit.statuses import DETAILS_KEY
from tests.e2e.every_rpc import GUARDED
from tests.e2e.foreign import (
    ID,
    NOT_FOR_ONE,
    SPECIAL,
    Asking,
    askings,
    make,
    missing_like,
    short_name,
)
from tests.e2e.forging import bearer, forger
from tests.e2e.mesh import RunningMesh

ASKINGS: Final = askings()
SECONDS: Final = 20.0
# What differs from one call to the next, whatever is asked for.
OWN_HEADERS: Final = {"date", "x-request-id", "x-envoy-upstream-service-time"}
# Where to look at what the other tenant has, to see that nothing has happened to it.
SIGHTS: Final = {
    "task": "tasks/{}",
    "api_key": "apiKeys/{}",
    "tool": "tools/{}",
    "bulk_operation": "bulkOperations/{}",
    "blob": "blobs/{}",
    "user": "users/{}",
    "role": "roles/{}",
    "credential": "serviceCredentials/{}",
}
LISTS: Final = ("pauses", "buildRoutings", "roleBindings", "rateLimits")


def test_every_rpc_that_asks_for_one_is_known() -> None:
    names = {short_name(method) for method in GUARDED}
    assert SPECIAL.keys() <= names
    assert names >= NOT_FOR_ONE
    assert len(ASKINGS) > 40


def filled(value: Any, id_: str) -> Any:
    """Put the id where it belongs in a request."""
    return json.loads(json.dumps(value).replace(ID, id_))


async def by_json(mesh: RunningMesh, binding: Binding, request: Mapping[str, Any], id_: str) -> str:
    """Call a route; return all of its answer, without what is of this call alone."""
    path, rest = route_of(binding, request)
    body = rest.pop(binding.body, {}) if binding.body not in ("", "*") else rest
    query = rest if binding.body != "*" else {}
    async with httpx.AsyncClient(
        base_url=mesh.url, headers=bearer(mesh.admin_key), timeout=SECONDS
    ) as client:
        response = await client.request(
            binding.verb, path, params=query, json=body if binding.body else None
        )
    headers = sorted(
        (name, text) for name, text in response.headers.items() if name not in OWN_HEADERS
    )
    text = response.text.replace(id_, ID).replace(response.headers["x-request-id"], "{request}")
    return f"{response.status_code} {headers} {text}"


def route_of(binding: Binding, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path for a request, and what of it the path doesn't say."""
    rest = filled(request, ID)

    def value(variable: re.Match[str]) -> str:
        holder, names = rest, variable[1].split(".")
        for name in names[:-1]:
            holder = holder[name]
        return quote(holder.pop(names[-1]), safe="")

    return re.sub(r"\{([^}]+)\}", value, binding.template), rest


async def by_grpc(
    channel: aio.Channel, mesh: RunningMesh, method: MethodDescriptor, asked: Any, id_: str
) -> str:
    """Call an RPC; return all of its answer, without what is of this call alone."""
    request = json_format.ParseDict(asked, GetMessageClass(method.input_type)())
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = Connection(mesh.url, mesh.admin_key).metadata
    multi_callable: Any = channel.unary_stream(path)
    call = multi_callable(request.SerializeToString(), metadata=metadata, timeout=SECONDS)
    try:
        answer = [each async for each in call]
    except aio.AioRpcError as error:
        return in_words(error).replace(id_, ID)
    return f"OK {answer}".replace(id_, ID)


def in_words(error: aio.AioRpcError) -> str:
    """Return all of a refusal but its request id."""
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(bytes(trailers.pop(DETAILS_KEY, b"")))
    for each in status.details:
        if each.Is(RequestInfo.DESCRIPTOR):
            each.value = b""
    return f"{error.code().name} {error.details()} {status} {sorted(trailers)}"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """What the other tenant has, once the first test has made it."""
    return {}


@pytest.fixture
async def foreign_key(mesh: RunningMesh, made: dict[str, str]) -> str:
    async with forger(mesh) as forge:
        key = await forge.auth.key("admin", tenant="foreign")
    if not made:
        made |= await make(mesh.url, key)
    return key


async def sights(mesh: RunningMesh, key: str, made: Mapping[str, str]) -> dict[str, str]:
    """Look at all that the other tenant has."""
    async with httpx.AsyncClient(base_url=f"{mesh.url}/api/v1", headers=bearer(key)) as client:
        paths = [path.format(made[kind]) for kind, path in SIGHTS.items()] + list(LISTS)
        return {path: (await client.get(f"/{path}")).raise_for_status().text for path in paths}


async def test_it_answers_byte_for_byte_as_what_is_missing(
    mesh: RunningMesh, foreign_key: str, made: dict[str, str]
) -> None:
    before = await sights(mesh, foreign_key, made)
    told: dict[str, list[str]] = {}
    async with Connection(mesh.url, "").channel() as channel:
        for name, (method, asking) in ASKINGS.items():
            there = made[asking.resource]
            for way, answers in (await both(mesh, channel, method, asking, there)).items():
                if not alike(answers, asking):
                    told[f"{name} {way}"] = answers
    assert told == {}
    assert await sights(mesh, foreign_key, made) == before


async def both(
    mesh: RunningMesh, channel: aio.Channel, method: MethodDescriptor, asking: Asking, there: str
) -> dict[str, list[str]]:
    """Ask for what is there and for what is not, by gRPC and every route."""
    answers: dict[str, list[str]] = {}
    for id_ in (there, missing_like(there)):
        request = filled(asking.request, id_)
        said = await by_grpc(channel, mesh, method, request, id_)
        answers.setdefault("by gRPC", []).append(said)
        for binding in bindings_of("", method):
            said = await by_json(mesh, binding, request, id_)
            answers.setdefault(binding.template, []).append(said)
    return answers


def alike(answers: list[str], asking: Asking) -> bool:
    """Tell whether the two answers are the same, and say what they should."""
    expected = ("OK", "200") if asking.reveals_nothing else ("NOT_FOUND", "404")
    same = len(set(answers)) == 1 and answers[0].startswith(expected)
    return same and "ROUTE_NOT_FOUND" not in answers[0]
