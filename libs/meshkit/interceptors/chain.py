"""Runs interceptors around a call, whichever of the four RPC shapes it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from meshkit.errors import InvalidArgument
from meshkit.security.principal import Principal
from meshkit.telemetry.traces import CallIds

Context = aio.ServicerContext[Any, Any]
"""The context of a handler, whatever its messages."""

Parse = Callable[[bytes], Message]
"""Makes a request message out of its bytes; raises DecodeError if they are none."""


_NO_IDS = CallIds(None, None)


@dataclass(slots=True)
class Call:
    """One call, as the interceptors see it.

    Attributes:
        method: `/package.Service/Method`.
        context: gRPC's side of the call.
        received: The request's bytes, or an iterator over them if the caller streams.
        metadata: What the caller sent along, text values only.
        streaming: Whether either side streams.
        ids: What logs, errors and calls to peers know the call by.
        principal: The caller, once authenticated.
        across_tenants: Whether it is to act in another tenant than its credential's.
        on_admission: Called once, when no interceptor has refused the call before its handler.
    """

    method: str
    context: Context
    received: Any
    metadata: dict[str, str]
    streaming: bool
    ids: CallIds = _NO_IDS
    principal: Principal | None = None
    across_tenants: bool = False
    on_admission: Callable[[], None] | None = None


Proceed = Callable[[Call], Awaitable[Any]]
"""Takes a call on to the next interceptor, and from the last one to the handler."""


class Interceptor:
    """Something that happens before a call, around it, or to each of its request messages.

    Each has one or more of these three. A call runs in a context of its own, so what
    is set for it in context variables needs no undoing.
    """

    async def admit(self, call: Call) -> None:
        """Do something before the call; raise a DomainError to refuse it."""

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Do something before and after `proceed(call)`, and return what that returns."""
        raise NotImplementedError  # pragma: no cover - called only where it is there

    def check(self, call: Call, message: Message, received: bytes) -> None:
        """Look at one request message and its bytes; raise a DomainError to refuse it."""


class Chain:
    """The interceptors of a server, the first outermost."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = interceptors
        self._checks = [each.check for each in interceptors if _has(each, "check")]

    def guarded(self, method: str, handler: Any) -> Any:
        """Return the handler of a method, `/package.Service/Method`, behind the interceptors."""
        enter = self._composed(self._handling(handler))
        streaming = handler.request_streaming or handler.response_streaming

        async def behavior(received: Any, context: Context) -> Any:
            return await enter(Call(method, context, received, _text_metadata(context), streaming))

        make = getattr(
            grpc,
            f"{'stream' if handler.request_streaming else 'unary'}_"
            f"{'stream' if handler.response_streaming else 'unary'}_rpc_method_handler",
        )
        # Messages are parsed in here, so that bytes that are none are refused like all bad input.
        return make(behavior, None, handler.response_serializer)

    def _composed(self, proceed: Proceed) -> Proceed:
        """Put the interceptors around what handles a call."""
        for each in reversed(self._interceptors):
            if _has(each, "around"):
                proceed = partial(each.around, proceed=proceed)
            if _has(each, "admit"):
                proceed = _admitting(each.admit, proceed)
        return proceed

    def _handling(self, handler: Any) -> Proceed:
        """Return what reads the request and calls the handler."""
        parse = handler.request_deserializer
        read: Any = self._read_all if handler.request_streaming else self._read
        inner = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

        async def answer(call: Call) -> Any:
            if call.on_admission is not None:
                call.on_admission()
            return await inner(read(call, parse, call.received), call.context)

        async def send(call: Call) -> None:
            if call.on_admission is not None:
                call.on_admission()
            async with aclosing(inner(read(call, parse, call.received), call.context)) as responses:
                async for response in responses:
                    await call.context.write(response)

        return send if handler.response_streaming else answer

    def _read(self, call: Call, parse: Parse, received: bytes) -> Message:
        try:
            message = parse(received)
        except DecodeError as error:
            raise InvalidArgument(
                f"The request can't be read as {call.method} expects it: it is malformed, nested"
                " too deeply, or holds text that is not UTF-8."
            ) from error
        for check in self._checks:
            check(call, message, received)
        return message

    async def _read_all(
        self, call: Call, parse: Parse, received: AsyncIterator[bytes]
    ) -> AsyncIterator[Message]:
        async for each in received:
            yield self._read(call, parse, each)


def _has(interceptor: Interceptor, name: str) -> bool:
    return getattr(type(interceptor), name) is not getattr(Interceptor, name)


def _admitting(admit: Callable[[Call], Awaitable[None]], proceed: Proceed) -> Proceed:
    async def admit_and_proceed(call: Call) -> Any:
        await admit(call)
        return await proceed(call)

    return admit_and_proceed


def _text_metadata(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
