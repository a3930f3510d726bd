"""Trace ids of calls by W3C Trace Context, and spans by OpenTelemetry where a collector is set."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import grpc
from opentelemetry import trace

from meshkit.settings import TelemetrySettings

TRACEPARENT_KEY: Final = "traceparent"
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01


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


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def current_trace() -> TraceContext | None:
    """Return the trace of the call being served, or None outside one."""
    return _current.get()


def enter_trace(traceparent: str | None) -> TraceContext:
    """Continue the trace that the caller named, or begin one, for this task's context."""
    context = _recorded() or _continued(traceparent)
    _current.set(context)
    return context


def _recorded() -> TraceContext | None:
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", span.trace_flags.sampled)


def _continued(traceparent: str | None) -> TraceContext:
    match = _TRACEPARENT.fullmatch(traceparent or "")
    span_id = os.urandom(8).hex()
    if match is None:
        return TraceContext(os.urandom(16).hex(), span_id, sampled=False)
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
