"""Channels to other services, with the calling service's identity on every call."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import aio

from meshkit.interceptors.deadline import remaining_seconds
from meshkit.security.delegation import delegation_metadata
from meshkit.security.principal import current_or_none
from meshkit.settings import PeerSettings
from meshkit.telemetry.traces import TRACEPARENT_KEY, current_trace

_MARGIN = 0.02
_SERVICE_CONFIG: Final = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
)
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A proxy in the environment is for the outside world, not for the mesh's own services.
    ("grpc.enable_http_proxy", 0),
]

TokenSource = Callable[[], Awaitable[str]]
"""Gives the access token to call with."""


class Channels:
    """Opens channels to the mesh's services, one each, and closes them.

    A target is `host:port` or any gRPC target, `xds:///task` among them. Without
    a token source, calls carry no credential. A unary call has the timeout of the
    settings or its own, and never longer than the call being served has left. Calls
    that stream requests are sent as they are: no service makes any.
    """

    def __init__(self, peers: PeerSettings, token: TokenSource | None = None) -> None:
        self._peers = peers
        self._token = token
        self._open: dict[str, aio.Channel] = {}

    def to(self, service: str) -> aio.Channel:
        """Return the channel to a service of `PeerSettings`; it connects by itself."""
        channel = self._open.get(service)
        if channel is None:
            target: str = getattr(self._peers, service)
            channel = aio.insecure_channel(
                target, options=_OPTIONS, interceptors=self._interceptors()
            )
            self._open[service] = channel
        return channel

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._open.values():
            await channel.close()
        self._open.clear()

    def _interceptors(self) -> list[aio.ClientInterceptor]:
        outgoing = _Outgoing(self._token, self._peers.timeout)
        return [_UnaryUnary(outgoing), _UnaryStream(outgoing)]


class _Outgoing:
    """Gives each call its deadline, credential, trace and caller."""

    def __init__(self, token: TokenSource | None, timeout: float) -> None:
        self._token = token
        self._timeout = timeout

    async def prepare(
        self, details: aio.ClientCallDetails, *, unary: bool
    ) -> aio.ClientCallDetails:
        metadata = aio.Metadata(*(details.metadata or ()))
        for key, value in (*await self._identity(), *_trace()):
            metadata.add(key, value)
        timeout = self._bounded(details.timeout) if unary else details.timeout
        return aio.ClientCallDetails(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready
        )

    async def _identity(self) -> list[tuple[str, str]]:
        if self._token is None:
            return []
        identity = [("authorization", f"Bearer {await self._token()}")]
        caller = current_or_none()
        return identity if caller is None else identity + delegation_metadata(caller)

    def _bounded(self, wanted: float | None) -> float:
        timeout = self._timeout if wanted is None else wanted
        remaining = remaining_seconds()
        return timeout if remaining is None else min(timeout, remaining - _MARGIN)


def _trace() -> list[tuple[str, str]]:
    trace = current_trace()
    return [] if trace is None else [(TRACEPARENT_KEY, trace.traceparent)]


class _UnaryUnary(aio.UnaryUnaryClientInterceptor):
    def __init__(self, outgoing: _Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request: Any
    ) -> Any:
        details = await self._outgoing.prepare(client_call_details, unary=True)
        return await continuation(details, request)


class _UnaryStream(aio.UnaryStreamClientInterceptor):
    def __init__(self, outgoing: _Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request: Any
    ) -> Any:
        details = await self._outgoing.prepare(client_call_details, unary=False)
        return await continuation(details, request)
