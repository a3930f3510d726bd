"""A service served within the test's own process, through the real server and its interceptors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from grpc import aio

from meshkit.audit import Recorder
from meshkit.limits.limiter import Limiter
from meshkit.security.credentials import CredentialVerifier
from meshkit.server import Server
from meshkit.settings import GrpcSettings

Register = Callable[[Any, Any], None]
"""A generated `add_…Servicer_to_server`."""


class Served:
    """A service that is being served, and the way to it."""

    def __init__(self, port: int, cleanup: AsyncExitStack) -> None:
        self.address = f"127.0.0.1:{port}"
        self._cleanup = cleanup

    def channel(self, token: str | None = None) -> aio.Channel:
        """Open a channel whose calls carry the token, if one is given; it is closed for you."""
        interceptors = [] if token is None else bearer(token)
        channel = aio.insecure_channel(self.address, interceptors=interceptors)
        self._cleanup.push_async_callback(channel.close)
        return channel


class Serve(Protocol):
    """Serves a servicer until the test ends."""

    async def __call__(self, register: Register, servicer: object) -> Served:
        """Serve it on a free port."""
        ...


@asynccontextmanager
async def serving(
    register: Register,
    servicer: object,
    verifier: CredentialVerifier,
    *,
    settings: GrpcSettings | None = None,
    recorder: Recorder | None = None,
    limiter: Limiter | None = None,
) -> AsyncIterator[Served]:
    """Serve a servicer on a free port; drain at the end, without the pauses of production."""

    def add_to(server: Server) -> None:
        server.add(register, servicer)

    async with serving_all(
        add_to, verifier, settings=settings, recorder=recorder, limiter=limiter
    ) as served:
        yield served


@asynccontextmanager
async def serving_all(
    add_to: Callable[[Server], None],
    verifier: CredentialVerifier,
    *,
    settings: GrpcSettings | None = None,
    beside: Iterable[Coroutine[Any, Any, None]] = (),
    recorder: Recorder | None = None,
    limiter: Limiter | None = None,
) -> AsyncIterator[Served]:
    """Serve all that `add_to` adds to a server, with what runs `beside` it."""
    settings = settings or GrpcSettings(port=0, drain_delay=0, grace=0.1)
    server = Server(settings, verifier=verifier, recorder=recorder, limiter=limiter)
    add_to(server)
    running = [asyncio.create_task(each) for each in beside]
    await server.start()
    try:
        async with AsyncExitStack() as cleanup:
            yield Served(server.port, cleanup)
    finally:
        await server.drain()
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def bearer(token: str) -> list[aio.ClientInterceptor]:
    """Return what adds the token to calls; grpc wants a class for each shape of call."""
    return [_UnaryUnary(token), _UnaryStream(token), _StreamStream(token)]


class _Bearer:
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def details(self, sent: aio.ClientCallDetails) -> aio.ClientCallDetails:
        metadata = aio.Metadata(*(sent.metadata or ()), self._header)
        return aio.ClientCallDetails(
            sent.method, sent.timeout, metadata, sent.credentials, sent.wait_for_ready
        )


class _UnaryUnary(_Bearer, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request)


class _UnaryStream(_Bearer, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request)


class _StreamStream(_Bearer, aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await continuation(self.details(client_call_details), request_iterator)
