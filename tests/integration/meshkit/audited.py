"""A service for tests whose methods are audited, or mostly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio

from mesh.common.v1 import options_pb2
from meshkit.audit import Record
from meshkit.interceptors.chain import Context
from tests.waiting import until

OPTIONS: Final = (field_behavior_pb2.field_behavior, options_pb2.auth)
"""The options that the text below names: to import them makes them known."""

_FILE: Final = text_format.Parse(
    """
    name: "tests/audited.proto" package: "tests.audited" syntax: "proto3"
    dependency: "google/api/field_behavior.proto" dependency: "mesh/common/v1/options.proto"
    message_type {
      name: "Thing"
      field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL
              options { [google.api.field_behavior]: OUTPUT_ONLY } }
      field { name: "name" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "maker_id" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL
              options { [google.api.field_behavior]: OUTPUT_ONLY } }
      field { name: "secret" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
      name: "Ask"
      field { name: "thing_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "thing" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: "Thing" }
      field { name: "subject" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL }
      field { name: "request_id" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
    }
    message_type {
      name: "Told"
      field { name: "thing" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: "Thing" }
    }
    service {
      name: "ThingService"
      method { name: "Change" input_type: "Ask" output_type: "Told"
               options { [mesh.common.v1.auth] { permission: "thing:change" audit: true } } }
      method { name: "Watch" input_type: "Ask" output_type: "Told"
               options { [mesh.common.v1.auth] { permission: "thing:watch" audit: true } } }
      method { name: "Login" input_type: "Ask" output_type: "Told"
               options { [mesh.common.v1.auth] { public: true audit: true } } }
      method { name: "Look" input_type: "Ask" output_type: "Told"
               options { [mesh.common.v1.auth] { permission: "thing:look" } } }
    }
    """,
    FileDescriptorProto(),
)
descriptor_pool.Default().AddSerializedFile(_FILE.SerializeToString())

SERVICE: Final = "tests.audited.ThingService"


def _class(name: str) -> Any:
    described = descriptor_pool.Default().FindMessageTypeByName(f"tests.audited.{name}")
    return message_factory.GetMessageClass(described)


Thing: Any = _class("Thing")
Ask: Any = _class("Ask")
Told: Any = _class("Told")

Act = Callable[[Any], Awaitable[Any]]
"""What the service does with each request; what it returns is answered."""


async def tell(_request: Any) -> Any:
    """Answer with nothing."""
    return Told()


class Things:
    """Answers what `act` returns."""

    def __init__(self, act: Act) -> None:
        self.act = act

    async def answer(self, request: Any, _context: Context) -> Any:
        return await self.act(request)

    async def stream(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        yield Told()
        yield await self.act(request)


def add_things(things: Things, server: Any) -> None:
    """Register the service, as generated code would."""
    codec = (Ask.FromString, lambda told: told.SerializeToString())
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(things.answer, *codec)
        for name in ("Change", "Login", "Look")
    }
    handlers["Watch"] = grpc.unary_stream_rpc_method_handler(things.stream, *codec)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def ask(channel: aio.Channel, method: str, sent: Any = None, **options: Any) -> list[Any]:
    """Call a method with a message or bytes; return its answers.

    Raises:
        AioRpcError: The call failed.
    """
    body = sent if isinstance(sent, bytes) else (sent or Ask()).SerializeToString()
    shape = "unary_stream" if method == "Watch" else "unary_unary"
    call: Any = getattr(channel, shape)(f"/{SERVICE}/{method}", None, Told.FromString)
    answers = call(body, **options)
    return [each async for each in answers] if method == "Watch" else [await answers]


@dataclass
class Book:
    """Where a test's records go."""

    records: list[Record] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def store(self, records: Sequence[Record]) -> None:
        await self.open.wait()
        self.records += records

    def holds(self, count: int) -> bool:
        """Tell whether there are so many records."""
        return len(self.records) == count

    async def entries(self) -> list[Record]:
        """Return the records that there are once one is."""
        await until(lambda: bool(self.records))
        return self.records
