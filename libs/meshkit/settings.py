"""Settings that services nest in theirs. Each is read from the environment once, at the root.

A service's settings class nests these models; `AGENTMESH_GRPC__PORT=50051` sets
`grpc.port`. Units are in the names or the descriptions.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ENVIRONMENT = SettingsConfigDict(
    env_prefix="AGENTMESH_", env_nested_delimiter="__", extra="ignore", frozen=True
)
"""How settings are read from the environment."""

Seconds = Annotated[float, Field(gt=0)]
"""A span of time in seconds."""


class GrpcSettings(BaseModel):
    """How a service listens."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(ge=0, le=65535, description="port to listen on; 0 for any free one")
    reflection: bool = Field(False, description="serve gRPC reflection; off in production")
    max_concurrent_rpcs: int = Field(10_000, gt=0, description="more answer RESOURCE_EXHAUSTED")
    max_concurrent_streams: int = Field(
        1000,
        gt=0,
        description="streams per connection; gRPC refuses more, and some just below: it counts"
        " calls that have ended until Python lets go of them",
    )
    max_request_bytes: int = Field(1 << 21, gt=0, description="larger messages are refused")
    default_deadline: Seconds = Field(30.0, description="for unary calls that bring none")
    minimum_deadline: Seconds = Field(0.005, description="calls with less time left are refused")
    drain_delay: Annotated[float, Field(ge=0)] = Field(
        1.0, description="seconds between NOT_SERVING and the end of accepting calls"
    )
    grace: Seconds = Field(5.0, description="seconds that running calls have to end")


class DatabaseSettings(BaseModel):
    """Where the database is, and how its connections are pooled."""

    url: SecretStr = Field(description="SQLAlchemy URL, postgresql+asyncpg://…")
    pool_size: int = Field(10, ge=1)
    max_overflow: int = Field(20, ge=0)
    pool_timeout: Seconds = Field(30.0, description="wait for a free connection")
    pool_recycle: Seconds = Field(3600.0, description="age at which a connection is replaced")
    statement_timeout: Seconds = Field(30.0, description="a statement is ended after this")
    idle_in_transaction_timeout: Seconds = Field(60.0, description="a forgotten transaction ends")
    migrate_at_start: bool = Field(True, description="run pending migrations before serving")


class PeerSettings(BaseModel):
    """Where the services are: `host:port`, or a full gRPC target such as `xds:///task`."""

    registry: str = "127.0.0.1:50051"
    task: str = "127.0.0.1:50052"
    auth: str = "127.0.0.1:50053"
    tool_catalog: str = "127.0.0.1:50054"
    analytics: str = "127.0.0.1:50055"
    timeout: Seconds = Field(5.0, description="deadline of a call to a peer")


class IdentitySettings(BaseModel):
    """How a service proves itself to others, and how long it trusts what it was told."""

    api_key: SecretStr = Field(SecretStr(""), description="this service's own API key")
    issuer: str = Field("agentmesh", description="`iss` of access tokens")
    audience: str = Field("agentmesh", description="`aud` of access tokens")
    cache_seconds: Seconds = Field(30.0, description="a checked API key is trusted this long")
    stale_seconds: Seconds = Field(300.0, description="and this long while auth is away")
    cache_size: int = Field(10_000, gt=0)


class LogSettings(BaseModel):
    """What is logged; always JSON, one object a line, on standard output.

    A line costs a server about as much as all its other work around a call, and says of
    a call that went well what the metrics say of all. So those are left out by default.
    """

    level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    calls: bool = Field(
        False, description="a line for each call, not only for those that fail or take over 1 s"
    )


class TelemetrySettings(BaseModel):
    """Where figures and traces go."""

    otlp_endpoint: str = Field("", description="OTLP/gRPC collector; no traces, if empty")
    sample_ratio: float = Field(0.01, ge=0, le=1, description="share of new traces recorded")


class MetricsSettings(BaseModel):
    """Where Prometheus reads."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535, description="0 serves no metrics")


class AuditSettings(BaseModel):
    """How a service hands its decisions to the audit log."""

    buffer: int = Field(
        10_000,
        gt=0,
        description="records held while the audit log is away; when it is full, audited calls"
        " are refused",
    )
    flush_interval: Seconds = Field(0.2, description="a record is sent after at most this")
    flush_patience: Seconds = Field(
        5.0, description="time that a clean stop takes at most to send what is left"
    )


class ServiceSettings(BaseSettings):
    """What every service needs; a service's own settings extend it."""

    model_config = ENVIRONMENT

    grpc: GrpcSettings
    database: DatabaseSettings
    peers: PeerSettings = PeerSettings()
    identity: IdentitySettings = IdentitySettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    metrics: MetricsSettings = MetricsSettings()
    audit: AuditSettings = AuditSettings()
