"""Where the mesh is, and the credential to call it with."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from grpc import aio

from agentmesh.errors import MeshError
from agentmesh.stack.directory import DataDirectory, default_data_directory

DEFAULT_URL: Final = "http://127.0.0.1:8080"

_OPTIONS: Final[list[tuple[str, Any]]] = [
    # A peer that is gone without a word is noticed within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 16 << 20),
    # A channel of its own is a connection of its own: one that has died is left by a new channel.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True)
class Connection:
    """A mesh's address and a credential for it.

    Attributes:
        url: `http://host:port`, or `https://…` for TLS.
        api_key: An API key or access token.
    """

    url: str
    api_key: str = field(repr=False)

    @classmethod
    def resolve(cls, url: str | None = None, api_key: str | None = None) -> Connection:
        """Fill in what isn't given.

        From `AGENTMESH_URL` and `AGENTMESH_API_KEY`; else the mesh that
        `agentmesh up` runs on this machine, with its admin key.

        Raises:
            MeshError: There is no key to be found.
        """
        api_key = api_key or os.environ.get("AGENTMESH_API_KEY") or _local_key()
        if not api_key:
            raise MeshError(
                "no API key: pass api_key, set AGENTMESH_API_KEY, or start a mesh here"
                " with `agentmesh up`",
                code="UNAUTHENTICATED",
                reason="CREDENTIAL_MISSING",
            )
        return cls(url or os.environ.get("AGENTMESH_URL") or _local_url(), api_key)

    def channel(self) -> aio.Channel:
        """Open a gRPC channel to the gateway; it connects when it is first used."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MeshError(
                f"{self.url!r} is not the URL of a mesh; write http://host:port",
                code="INVALID_ARGUMENT",
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        # A proxy can't reach what listens on this machine alone.
        options = [*_OPTIONS, ("grpc.enable_http_proxy", int(not _is_loopback(parts.hostname)))]
        if parts.scheme == "https":
            target = f"{host}:{parts.port or 443}"
            return aio.secure_channel(target, grpc.ssl_channel_credentials(), options=options)
        return aio.insecure_channel(f"{host}:{parts.port or 80}", options=options)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call carries."""
        return (("authorization", f"Bearer {self.api_key}"),)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local() -> DataDirectory:
    return DataDirectory(default_data_directory())


def _local_key() -> str:
    try:
        return (_local().secrets / "admin.key").read_text().strip()
    except OSError:
        return ""


def _local_url() -> str:
    try:
        return str(json.loads(_local().state.read_text())["url"])
    except (OSError, ValueError, KeyError):
        return DEFAULT_URL
