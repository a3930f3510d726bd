"""The one listener: HTTP/1.1 and HTTP/2 on the same port, and the filters in their order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutation,
    HeaderMutationRemoveOnMatch,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
    KeepaliveSettings,
    SocketAddress,
    SubstitutionFormatString,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import (
    Filter,
    FilterChain,
    Listener,
    ListenerConnectionBalanceConfig,
    ListenerConnectionBalanceConfigExactBalance,
)
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration, VirtualHost
from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerPathWithEscapedSlashesAction,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import (
    v3 as early_mutation,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.clusters import CONNECTION_WINDOW, STREAM_WINDOW
from gateway.filters import cors_policy, http_filters
from gateway.replies import local_reply_config
from gateway.routes import routes
from gateway.settings import GatewaySettings

STAT_PREFIX = "edge"
SERVER_NAME = "agentmesh"
CONNECTION_BUFFER_BYTES = 1024 * 1024
MOST_HEADERS_KIB = 16
STREAMS_PER_CONNECTION = 100
HEADERS_TIMEOUT = timedelta(seconds=10)
STREAM_IDLE_TIMEOUT = timedelta(minutes=1)
# Agents that vanished without closing their connection are noticed within 15 s.
KEEPALIVE = KeepaliveSettings(interval=timedelta(seconds=10), timeout=timedelta(seconds=5))
# Services believe the first from each other, Envoy the second from nobody.
RESERVED_HEADERS = ("x-agentmesh-", "x-envoy-")

ACCESS_LOG_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "event": "request",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
    # Without the query, which may hold what a caller would not want logged.
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "rpc": "%PATH(NQ:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "service": "%UPSTREAM_CLUSTER%",
}


def listener(settings: GatewaySettings, descriptors: Path) -> Listener:
    """Describe the listener.

    The port is not shared (`SO_REUSEPORT` is off), so that a second gateway on it fails
    instead of quietly taking half of the calls.
    """
    manager = Filter(
        name="envoy.filters.network.http_connection_manager",
        typed_config=Any.pack(connection_manager(settings, descriptors)),
    )
    return Listener(
        name=STAT_PREFIX,
        address=socket_address(settings.host, settings.port),
        per_connection_buffer_limit_bytes=CONNECTION_BUFFER_BYTES,
        enable_reuse_port=False,
        connection_balance_config=ListenerConnectionBalanceConfig(
            exact_balance=ListenerConnectionBalanceConfigExactBalance()
        ),
        filter_chains=[FilterChain(filters=[manager])],
    )


def socket_address(host: str, port: int) -> Address:
    """Name a TCP address."""
    return Address(socket_address=SocketAddress(address=host, port_value=port))


def connection_manager(settings: GatewaySettings, descriptors: Path) -> HttpConnectionManager:
    """Describe how a connection's requests are read, routed, limited and logged."""
    return HttpConnectionManager(
        stat_prefix=STAT_PREFIX,
        server_name=SERVER_NAME,
        route_config=RouteConfiguration(
            name=STAT_PREFIX, virtual_hosts=[virtual_host(settings, descriptors)]
        ),
        http_filters=http_filters(settings, descriptors),
        local_reply_config=local_reply_config(settings.max_body_bytes),
        access_log=access_log() if settings.access_log else [],
        use_remote_address=True,
        always_set_request_id_in_response=True,
        early_header_mutation_extensions=[strip_reserved_headers()],
        normalize_path=True,
        path_with_escaped_slashes_action=(
            HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST
        ),
        max_request_headers_kb=MOST_HEADERS_KIB,
        request_headers_timeout=HEADERS_TIMEOUT,
        stream_idle_timeout=STREAM_IDLE_TIMEOUT,
        common_http_protocol_options=HttpProtocolOptions(
            headers_with_underscores_action=(
                HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST
            ),
        ),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=STREAMS_PER_CONNECTION,
            initial_stream_window_size=STREAM_WINDOW,
            initial_connection_window_size=CONNECTION_WINDOW,
            connection_keepalive=KEEPALIVE,
        ),
    )


def virtual_host(settings: GatewaySettings, descriptors: Path) -> VirtualHost:
    """Describe the one virtual host, which answers to every host name."""
    return VirtualHost(
        name=STAT_PREFIX,
        domains=["*"],
        routes=routes(settings, descriptors),
        typed_per_filter_config=cors_policy(settings.cors_origins),
    )


def strip_reserved_headers() -> TypedExtensionConfig:
    """Remove headers that only the mesh itself may set, before anything else reads them."""
    mutations = [
        HeaderMutation(
            remove_on_match=HeaderMutationRemoveOnMatch(
                key_matcher=StringMatcher(prefix=prefix, ignore_case=True)
            )
        )
        for prefix in RESERVED_HEADERS
    ]
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=Any.pack(early_mutation.HeaderMutation(mutations=mutations)),
    )


def access_log() -> list[AccessLog]:
    """Log each request on standard output, one JSON object a line."""
    fields = SubstitutionFormatString(json_format=Struct.from_dict(ACCESS_LOG_FIELDS))
    return [
        AccessLog(
            name="envoy.access_loggers.stdout",
            typed_config=Any.pack(StdoutAccessLog(log_format=fields)),
        )
    ]
