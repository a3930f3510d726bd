"""Spans of calls reach a collector, in the trace that the caller named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from mesh.auth.v1 import auth_service_pb2
from mesh.auth.v1.auth_service_pb2_grpc import (
    AuthServiceServicer,
    AuthServiceStub,
    add_AuthServiceServicer_to_server,
)
from meshkit.interceptors.chain import Context
from meshkit.server import Server
from meshkit.settings import GrpcSettings, TelemetrySettings
from meshkit.telemetry.traces import tracing_interceptors
from meshkit.testing.tokens import TokenFactory

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that are sent to it."""

    def __init__(self) -> None:
        self.spans: asyncio.Queue[trace_pb2.Span] = asyncio.Queue()

    async def Export(  # noqa: N802 - the contract's name
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: Context,  # noqa: ARG002 - the contract's parameter
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put_nowait(span)
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    server, collector = aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # it has no types
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def test_without_a_collector_nothing_records() -> None:
    assert tracing_interceptors(TelemetrySettings(), service="auth") == []


async def test_a_sampled_call_is_recorded_in_its_callers_trace(tokens: TokenFactory) -> None:
    async with collecting() as (collector, endpoint):
        settings = TelemetrySettings(otlp_endpoint=endpoint, sample_ratio=0)
        recording = tracing_interceptors(settings, service="auth")
        server = Server(
            GrpcSettings(port=0, drain_delay=0, grace=0.1),
            verifier=tokens.verifier,
            outermost=recording,
        ).add(
            add_AuthServiceServicer_to_server,
            AuthServiceServicer(),  # type: ignore[abstract]  # no call gets as far as its body
        )
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for sampled in ("00", "01"):
                metadata = (("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-{sampled}"),)
                call = AuthServiceStub(channel).WhoAmI(
                    auth_service_pb2.WhoAmIRequest(), metadata=metadata
                )
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        async with asyncio.timeout(20):
            span = await collector.spans.get()
        await server.drain()
    assert span.trace_id.hex() == TRACE_ID
    assert span.name == "/mesh.auth.v1.AuthService/WhoAmI"
    assert collector.spans.empty()
