"""How clients and agents connect: to any replica that is there, with a key on each call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from grpc import aio

_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
]


def channel_to(targets: Sequence[str]) -> aio.Channel:
    """Open a channel to several `host:port`, used in turn."""
    return aio.insecure_channel(f"ipv4:{','.join(targets)}", options=_OPTIONS)


def credential(key: str) -> list[tuple[str, str]]:
    """Return what authenticates a call."""
    return [("authorization", f"Bearer {key}")]
