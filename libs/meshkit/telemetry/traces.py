"""Ids of calls, traces by W3C Trace Context, and spans by OpenTelemetry if there is a collector."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import grpc

from meshkit.settings import TelemetrySettings

TRACEPARENT_KEY: Final = "traceparent"
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace that a call belongs to: 32 and 16 hex digits, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header that hands this trace on."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


class CallIds:
    """The ids of a call, each read or made when it is first asked for: most never are."""

    __slots__ = ("_request_id", "_sent", "_trace", "_traceparent")

    def __init__(self, sent: str | None, traceparent: str | None) -> None:
        self._sent = sent
        self._traceparent = traceparent
        self._request_id: str | None = None
        self._trace: TraceContext | None = None

    @property
    def request_id(self) -> str:
        """The id that the caller sent, if it is one, or else one of our own."""
        if self._request_id is None:
            keeps = self._sent is not None and _REQUEST_ID.fullmatch(self._sent)
            self._request_id = self._sent if keeps else _random_hex(128)
        return self._request_id or ""

    @property
    def trace(self) -> TraceContext:
        """The trace that the caller named, or else one that begins here."""
        if self._trace is None:
            self._trace = _continued(self._traceparent)
        return self._trace

    def follow_span(self) -> None:
        """Take the trace from the span that is being recorded, if one is."""
        self._trace = _of_the_span()


_current: ContextVar[CallIds | None] = ContextVar("ids", default=None)


def current_ids() -> CallIds | None:
    """Return the ids of the call being served, or None outside one."""
    return _current.get()


def current_trace() -> TraceContext | None:
    """Return the trace of the call being served, or None outside one."""
    ids = _current.get()
    return None if ids is None else ids.trace


def enter_call(
    request_id: str | None, traceparent: str | None, *, recorded: bool = False
) -> CallIds:
    """Give this task's context the ids that the caller sent, and ids of its own for the others.

    Where spans are `recorded`, the trace is that of the span that has been begun, if one has.
    """
    ids = CallIds(request_id, traceparent)
    if recorded:
        ids.follow_span()
    _current.set(ids)
    return ids


def _random_hex(bits: int) -> str:
    return f"{random.getrandbits(bits):0{bits // 4}x}"


def _of_the_span() -> TraceContext | None:
    # Takes a while to load, and is there already where spans are recorded.
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - see above

    span = get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", span.trace_flags.sampled)


def _continued(traceparent: str | None) -> TraceContext:
    match = _TRACEPARENT.fullmatch(traceparent or "")
    span_id = _random_hex(64)
    if match is None:
        return TraceContext(_random_hex(128), span_id, sampled=False)
    return TraceContext(match[1], span_id, sampled=bool(int(match[3], 16) & _SAMPLED))


def tracing_interceptors(
    settings: TelemetrySettings, *, service: str
) -> list[grpc.aio.ServerInterceptor]:
    """Return what records spans of calls: nothing, and at no cost, without a collector."""
    if not settings.otlp_endpoint:
        return []
    # The exporter takes a tenth of a service's start, so it is loaded only where it is used.
    from meshkit.telemetry.spans import recording_interceptor  # noqa: PLC0415 - see above

    return [recording_interceptor(settings, service=service)]
