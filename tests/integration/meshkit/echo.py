"""A service for tests with an RPC of each shape, which says what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
from buf.validate import validate_pb2
from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from grpc import aio

from mesh.common.v1 import options_pb2
from meshkit.interceptors.chain import Context

OPTIONS: Final = (validate_pb2.field, options_pb2.auth)
"""The options that the text below names: to import them makes them known."""

_FILE: Final = text_format.Parse(
    """
    name: "tests/echo.proto" package: "tests.echo" syntax: "proto3"
    dependency: "buf/validate/validate.proto" dependency: "mesh/common/v1/options.proto"
    message_type {
      name: "Words"
      field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL
              options { [buf.validate.field] { string { max_len: 16 } } } }
      field { name: "list" number: 2 type: TYPE_STRING label: LABEL_REPEATED
              options { [buf.validate.field] { repeated { items { string { max_len: 4 } } } } } }
      field { name: "map" number: 3 type: TYPE_MESSAGE label: LABEL_REPEATED
              type_name: ".tests.echo.Words.MapEntry"
              options { [buf.validate.field] { map { values { string { max_len: 4 } } } } } }
      field { name: "inner" number: 4 type: TYPE_MESSAGE label: LABEL_REPEATED type_name: "Words" }
      nested_type {
        name: "MapEntry" options { map_entry: true }
        field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
        field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
      }
    }
    service {
      name: "EchoService"
      method { name: "unary_unary" input_type: "Words" output_type: "Words"
               options { [mesh.common.v1.auth] { permission: "echo:say" } } }
      method { name: "unary_stream" input_type: "Words" output_type: "Words"
               options { [mesh.common.v1.auth] { permission: "echo:say" } } }
      method { name: "stream_unary" input_type: "Words" output_type: "Words"
               options { [mesh.common.v1.auth] { permission: "echo:say" } } }
      method { name: "stream_stream" input_type: "Words" output_type: "Words"
               options { [mesh.common.v1.auth] { permission: "echo:say" } } }
      method { name: "public" input_type: "Words" output_type: "Words"
               options { [mesh.common.v1.auth] { public: true } } }
    }
    """,
    FileDescriptorProto(),
)
descriptor_pool.Default().AddSerializedFile(_FILE.SerializeToString())

SERVICE: Final = "tests.echo.EchoService"
SHAPES: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Words: Any = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName("tests.echo.Words")
)

Act = Callable[[str], Awaitable[None]]
"""What the service does for each text it hears, before it says it."""


def path(shape: str) -> str:
    """Return the full name of a method."""
    return f"/{SERVICE}/{shape}"


class Echo:
    """Says each text it hears, or the last one, after it has acted on it."""

    def __init__(self, act: Act) -> None:
        self.act = act

    async def unary_unary(self, request: Any, _context: Context) -> Message:
        await self.act(request.text)
        return request  # type: ignore[no-any-return]  # Words has no type

    async def unary_stream(self, request: Any, _context: Context) -> AsyncIterator[Message]:
        await self.act(request.text)
        yield request

    async def stream_unary(self, requests: AsyncIterator[Any], _context: Context) -> Message:
        last = Words()
        async for last in requests:
            await self.act(last.text)
        return last  # type: ignore[no-any-return]  # Words has no type

    async def stream_stream(
        self, requests: AsyncIterator[Any], _context: Context
    ) -> AsyncIterator[Message]:
        async for request in requests:
            await self.act(request.text)
            yield request


def add_echo(echo: Any, server: Any, names: Iterable[str] = (*SHAPES, "public")) -> None:
    """Register the service, as generated code would."""
    handlers = {}
    for name in names:
        shape = "unary_unary" if name == "public" else name
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        handlers[name] = make(
            getattr(echo, shape), Words.FromString, lambda words: words.SerializeToString()
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def say(
    channel: aio.Channel,
    shape: str,
    *sent: Any,
    token: str | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
    timeout: float | None = None,  # noqa: ASYNC109 - the call's own
) -> list[Any]:
    """Call a method with texts, messages or bytes; return what it answers.

    Raises:
        AioRpcError: The call failed.
    """
    messages = [each if isinstance(each, bytes) else _words(each) for each in sent]
    kind = "unary_unary" if shape == "public" else shape
    method: Any = getattr(channel, kind)(path(shape), None, Words.FromString)
    request: Any = iter(messages) if kind.startswith("stream") else messages[0]
    credential = () if token is None else (("authorization", f"Bearer {token}"),)
    call = method(request, metadata=(*metadata, *credential), timeout=timeout)
    if kind.endswith("unary"):
        return [await call]
    return [each async for each in call]


def _words(sent: Any) -> bytes:
    words = Words(text=sent) if isinstance(sent, str) else sent
    return bytes(words.SerializeToString())
