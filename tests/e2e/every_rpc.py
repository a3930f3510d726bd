"""Every RPC of every service of the mesh, called through the gateway by gRPC and by JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import httpx
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from agentmesh.connection import Connection
from agentmesh.errors import from_rpc_error
from gateway.contracts import Binding, bindings, services
from mesh.common.v1 import options_pb2

SOMETHING: Final = "00000000-0000-7000-8000-000000000000"
MALFORMED: Final[Any] = b"\xff"
"""Bytes that are no message of any type: whoever looks at them says so."""

_AT_ONCE: Final = 32
_PATIENCE: Final = 30.0
_HTTP_STATUS: Final = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What an RPC answered: code and reason, and which permission it says is lacking."""

    code: str
    reason: str = ""
    permission: str = ""


def permission(method: MethodDescriptor) -> str:
    """Return the permission that an RPC declares; empty if it is public."""
    return str(method.GetOptions().Extensions[options_pb2.auth].permission)


METHODS: Final = [method for service in services() for method in service.methods()]
GUARDED: Final = [method for method in METHODS if permission(method)]
ROUTES: Final = [binding for binding in bindings() if permission(binding.rpc)]
PERMISSIONS: Final = sorted({permission(method) for method in GUARDED})


@dataclass(frozen=True)
class Rpc:
    """One guarded RPC, or one route to it.

    Attributes:
        permission: What it takes.
        call: Calls it with headers.
    """

    name: str
    permission: str
    call: Callable[[Headers], Awaitable[Answer]]


async def answers_of(
    rpcs: Iterable[Rpc], headers: Callable[[str], Headers]
) -> list[tuple[Rpc, Answer]]:
    """Call each, many at once, with the headers for its permission."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(rpc: Rpc) -> tuple[Rpc, Answer]:
        async with turns, asyncio.timeout(_PATIENCE):
            return rpc, await rpc.call(headers(rpc.permission))

    return await asyncio.gather(*(one(rpc) for rpc in rpcs))


@asynccontextmanager
async def by_grpc(url: str) -> AsyncIterator[list[Rpc]]:
    """Call over one gRPC channel."""
    async with Connection(url, "").channel() as channel:

        async def call(method: MethodDescriptor, headers: Headers) -> Answer:
            # Where the caller streams, a refusal comes without a message; grpc.aio would call a
            # write that meets it an internal error.
            messages = [] if method.client_streaming else [MALFORMED]
            return await grpc_answer(channel, method, messages, headers)

        yield [Rpc(each.full_name, permission(each), partial(call, each)) for each in GUARDED]


async def grpc_answer(
    channel: aio.Channel, method: MethodDescriptor, messages: list[Any], headers: Headers
) -> Answer:
    """Call an RPC with messages as they are on the wire, and return how it answered."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = iter(messages) if messages else None
    call: Any = channel.stream_stream(path)(request, metadata=tuple(headers.items()))
    try:
        await call.read()
    except aio.AioRpcError as refused:
        error = from_rpc_error(refused)
        return Answer(error.code, error.reason, error.metadata.get("permission", ""))
    finally:
        call.cancel()
    return Answer("OK")


@asynccontextmanager
async def by_json(url: str) -> AsyncIterator[list[Rpc]]:
    """Call by one HTTP client."""
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE) as client:

        async def call(binding: Binding, headers: Headers) -> Answer:
            path = re.sub(r"\{[^}]*\}", SOMETHING, binding.template)
            content = "{}" if binding.body else None
            return json_answer(
                await client.request(binding.verb, path, content=content, headers=dict(headers))
            )

        yield [
            Rpc(f"{each.verb} {each.template}", permission(each.rpc), partial(call, each))
            for each in ROUTES
        ]


def json_answer(response: httpx.Response) -> Answer:
    """Read how a route answered; its HTTP status and the code in its body have to agree."""
    if response.is_success:
        return Answer("OK")
    body = response.json()
    code = _CODES[body["code"]]
    if _HTTP_STATUS.get(code, response.status_code) != response.status_code:
        return Answer(f"{code} as {response.status_code}")
    info = body["details"][0]
    return Answer(code, info["reason"], info.get("metadata", {}).get("permission", ""))
