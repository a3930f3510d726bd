"""The HTTP filters, in the one order that works.

CORS comes first, so that refusals reach browsers too. A body is bounded before the Lua
filter reads it, and checked before the transcoder turns it to gRPC.
"""

from __future__ import annotations

from pathlib import Path

from betterproto2 import Message
from envoy_data_plane.envoy.config.core.v3 import DataSource, TypedExtensionConfig
from envoy_data_plane.envoy.extensions.compression.gzip.compressor.v3 import Gzip
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer
from envoy_data_plane.envoy.extensions.filters.http.compressor.v3 import (
    Compressor,
    CompressorCommonDirectionConfig,
    CompressorResponseDirectionConfig,
)
from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import Cors, CorsPolicy
from envoy_data_plane.envoy.extensions.filters.http.grpc_web.v3 import GrpcWeb
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpFilter,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any

from gateway.contracts import bindings
from gateway.json_check import program
from gateway.routes import BUFFER, COMPRESSOR, LUA, TRANSCODER
from gateway.settings import GatewaySettings
from gateway.transcoder import StreamForm, transcoder

CORS = "envoy.filters.http.cors"
GRPC_WEB = "envoy.filters.http.grpc_web"
ROUTER = "envoy.filters.http.router"

LEAST_COMPRESSED_BYTES = 1024
PREFLIGHT_SECONDS = "7200"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS = (
    "authorization, content-type, grpc-timeout, traceparent, x-grpc-web, x-mesh-tenant,"
    " x-user-agent"
)
EXPOSED_HEADERS = (
    "agentmesh-offset, allow, grpc-message, grpc-status, grpc-status-details-bin, retry-after,"
    " x-request-id"
)


def http_filters(settings: GatewaySettings, descriptors: Path) -> list[HttpFilter]:
    """List the filters in the order in which a request passes them."""
    bound = Buffer(max_request_bytes=settings.max_body_bytes)
    check = Lua(default_source_code=DataSource(inline_string=program(bindings())))
    framing = transcoder(descriptors, settings.max_body_bytes, StreamForm.ARRAY)
    return [
        http_filter(CORS, Cors()),
        http_filter(COMPRESSOR, compressor()),
        # These two act only where a route asks for them.
        http_filter(BUFFER, bound, disabled=True),
        http_filter(LUA, check, disabled=True),
        http_filter(GRPC_WEB, GrpcWeb()),
        http_filter(TRANSCODER, framing),
        http_filter(ROUTER, Router(suppress_envoy_headers=True)),
    ]


def http_filter(name: str, config: Message, *, disabled: bool = False) -> HttpFilter:
    """Describe one filter."""
    return HttpFilter(name=name, typed_config=Any.pack(config), disabled=disabled)


def compressor() -> Compressor:
    """Compress responses of some size with gzip, for callers that accept it; never gRPC."""
    return Compressor(
        response_direction_config=CompressorResponseDirectionConfig(
            common_config=CompressorCommonDirectionConfig(min_content_length=LEAST_COMPRESSED_BYTES)
        ),
        compressor_library=TypedExtensionConfig(name="gzip", typed_config=Any.pack(Gzip())),
    )


def cors_policy(origins: list[str]) -> dict[str, Any]:
    """Let pages of these origins call the API; none, if the list is empty."""
    if not origins:
        return {}
    policy = CorsPolicy(
        allow_origin_string_match=[StringMatcher(exact=origin) for origin in origins],
        allow_methods=ALLOWED_METHODS,
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
    )
    return {CORS: Any.pack(policy)}
