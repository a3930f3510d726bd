"""The whole configuration of Envoy, and the files it refers to."""

from __future__ import annotations

from pathlib import Path

from envoy_data_plane.envoy.config.bootstrap.v3 import (
    Admin,
    Bootstrap,
    BootstrapStaticResources,
)
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.overload.v3 import OverloadManager, ResourceMonitor
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import (
    DownstreamConnectionsConfig,
)
from envoy_data_plane.google.protobuf import Any

from gateway.clusters import cluster
from gateway.contracts import descriptor_set
from gateway.listener import listener, socket_address
from gateway.settings import GatewaySettings, PeerSettings

NODE_ID = "agentmesh-gateway"
LOOPBACK = "127.0.0.1"
DESCRIPTORS = "contracts.pb"
BOOTSTRAP = "envoy.pb"


def bootstrap(gateway: GatewaySettings, peers: PeerSettings, work_dir: Path) -> Bootstrap:
    """Describe the whole of Envoy; it will read the descriptor set from `work_dir`."""
    return Bootstrap(
        node=Node(id=NODE_ID, cluster=NODE_ID),
        admin=Admin(address=socket_address(LOOPBACK, gateway.admin_port)),
        static_resources=BootstrapStaticResources(
            listeners=[listener(gateway, work_dir / DESCRIPTORS)],
            clusters=[cluster(name, target) for name, target in peers.endpoints().items()],
        ),
        overload_manager=overload_manager(gateway.max_connections),
    )


def overload_manager(max_connections: int) -> OverloadManager:
    """Refuse callers' connections above a bound."""
    bound = DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)
    monitor = ResourceMonitor(
        name="envoy.resource_monitors.global_downstream_max_connections",
        typed_config=Any.pack(bound),
    )
    return OverloadManager(resource_monitors=[monitor])


def write_files(gateway: GatewaySettings, peers: PeerSettings, work_dir: Path) -> Path:
    """Write the descriptor set and the configuration; give the path of the configuration."""
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / DESCRIPTORS).write_bytes(descriptor_set())
    config = work_dir / BOOTSTRAP
    config.write_bytes(bytes(bootstrap(gateway, peers, work_dir)))
    return config
