"""Runs interceptors around a call, whichever of the four RPC shapes it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from meshkit.errors import InvalidArgument
from meshkit.security.principal import Principal

Context = aio.ServicerContext[Any, Any]
"""The context of a handler, whatever its messages."""

Parse = Callable[[bytes], Message]
"""Makes a request message out of its bytes; raises DecodeError if they are none."""

INFRASTRUCTURE: Final = ("/grpc.health.v1.", "/grpc.reflection.")
"""Services of gRPC itself, which are served without the chain."""


@dataclass(slots=True, weakref_slot=True)
class Call:
    """One call, as the interceptors see it.

    Attributes:
        method: `/package.Service/Method`.
        context: gRPC's side of the call.
        metadata: What the caller sent along, text values only.
        streaming: Whether either side streams.
        request_id: Id under which logs and errors speak of the call.
        principal: The caller, once authenticated.
    """

    method: str
    context: Context
    metadata: dict[str, str]
    streaming: bool
    request_id: str = ""
    principal: Principal | None = None


class Interceptor:
    """Something that happens before a call, around it, or to each of its request messages.

    Each has one or more of these three. A call runs in a context of its own, so what
    is set for it in context variables needs no undoing.
    """

    async def admit(self, call: Call) -> None:
        """Do something before the call; raise a DomainError to refuse it."""

    def around(self, call: Call) -> AbstractAsyncContextManager[None]:
        """Return what is entered before the call and left after it."""
        raise NotImplementedError  # pragma: no cover - called only where it is there

    def check(self, call: Call, message: Message) -> None:
        """Look at one request message; raise a DomainError to refuse it."""


@dataclass
class Chain(aio.ServerInterceptor):
    """The interceptors of a server, the first outermost."""

    interceptors: Sequence[Interceptor]
    _wrapped: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _checks(self) -> list[Callable[[Call, Message], None]]:
        return [each.check for each in self.interceptors if _has(each, "check")]

    @cached_property
    def _steps(self) -> list[tuple[bool, Any]]:
        """What happens before the handler, in order; True for what is left again after it."""
        return [
            (name == "around", getattr(each, name))
            for each in self.interceptors
            for name in ("admit", "around")
            if _has(each, name)
        ]

    async def _through(self, step: int, call: Call, proceed: Callable[[], Awaitable[Any]]) -> Any:
        """Go through the steps from this one on, and then on to the handler."""
        for index in range(step, len(self._steps)):
            is_around, each = self._steps[index]
            if is_around:
                async with each(call):
                    return await self._through(index + 1, call, proceed)
            await each(call)
        return await proceed()

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap the method's handler, once for the life of the server."""
        method = handler_call_details.method
        if method.startswith(INFRASTRUCTURE):
            return await continuation(handler_call_details)
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        inner = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        streaming = handler.request_streaming or handler.response_streaming
        # Messages are parsed in here, so that bytes that are none are refused like all bad input.
        parse = handler.request_deserializer

        async def behavior(received: Any, context: Context) -> Any:
            call = Call(method, context, _text_metadata(context), streaming)

            async def proceed() -> Any:
                read = self._read_all if handler.request_streaming else self._read
                request: Any = read(call, parse, received)
                if not handler.response_streaming:
                    return await inner(request, context)
                await _send_all(inner(request, context), context)
                return None

            return await self._through(0, call, proceed)

        make = getattr(
            grpc,
            f"{'stream' if handler.request_streaming else 'unary'}_"
            f"{'stream' if handler.response_streaming else 'unary'}_rpc_method_handler",
        )
        return make(behavior, None, handler.response_serializer)

    def _read(self, call: Call, parse: Parse, received: bytes) -> Message:
        try:
            message = parse(received)
        except DecodeError as error:
            raise InvalidArgument(
                f"The request can't be read as {call.method} expects it: it is malformed, nested"
                " too deeply, or holds text that is not UTF-8."
            ) from error
        for check in self._checks:
            check(call, message)
        return message

    async def _read_all(
        self, call: Call, parse: Parse, received: AsyncIterator[bytes]
    ) -> AsyncIterator[Message]:
        async for each in received:
            yield self._read(call, parse, each)


def _has(interceptor: Interceptor, name: str) -> bool:
    return getattr(type(interceptor), name) is not getattr(Interceptor, name)


async def _send_all(responses: Any, context: Context) -> None:
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)


def _text_metadata(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
