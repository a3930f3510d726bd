"""Envoy clusters: one per service, over HTTP/2, found by DNS."""

from __future__ import annotations

from datetime import timedelta

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    UpstreamConnectionOptions,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    Http2ProtocolOptions,
    KeepaliveSettings,
    SocketAddress,
    TcpKeepalive,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.google.protobuf import Any

from gateway.settings import Endpoint as Target

KIB = 1024
STREAM_WINDOW = 64 * KIB
CONNECTION_WINDOW = 1024 * KIB
CONNECT_TIMEOUT = timedelta(seconds=1)
# A service that is gone without a word is noticed within 15 s; each allows pings every 5 s.
KEEPALIVE = KeepaliveSettings(interval=timedelta(seconds=10), timeout=timedelta(seconds=5))
# Envoy's own bound of 1024 requests would be reached by the agents' idle streams.
MOST_REQUESTS = 100_000
MOST_PENDING = 10_000
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(name: str, target: Target) -> Cluster:
    """Describe the cluster of one service."""
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.STRICT_DNS,
        dns_lookup_family=ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=CONNECT_TIMEOUT,
        load_assignment=load_assignment(name, target),
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakersThresholds(
                    max_requests=MOST_REQUESTS, max_pending_requests=MOST_PENDING
                )
            ]
        ),
        upstream_connection_options=UpstreamConnectionOptions(tcp_keepalive=TcpKeepalive()),
        typed_extension_protocol_options={HTTP_OPTIONS: Any.pack(http2())},
    )


def load_assignment(name: str, target: Target) -> ClusterLoadAssignment:
    """Name the one address behind which a service's replicas are."""
    address = Address(socket_address=SocketAddress(address=target.host, port_value=target.port))
    endpoint = LbEndpoint(endpoint=Endpoint(address=address))
    return ClusterLoadAssignment(
        cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]
    )


def http2() -> HttpProtocolOptions:
    """Speak HTTP/2 without negotiation, and notice a dead peer within 35 seconds."""
    return HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
            http2_protocol_options=Http2ProtocolOptions(
                connection_keepalive=KEEPALIVE,
                initial_stream_window_size=STREAM_WINDOW,
                initial_connection_window_size=CONNECTION_WINDOW,
            )
        )
    )
