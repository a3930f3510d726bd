"""What the fleet did, as the client returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from mesh.analytics.v1 import analytics_service_pb2, invocation_pb2


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals over a set of invocations; `success_rate` is 0 to 1."""

    total: int
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float
    latency_mean: timedelta
    latency_p50: timedelta
    latency_p95: timedelta
    latency_p99: timedelta

    @classmethod
    def from_proto(cls, message: invocation_pb2.Totals) -> Self:
        """Decode totals."""
        return cls(
            total=message.total,
            succeeded=message.succeeded,
            failed=message.failed,
            cancelled=message.cancelled,
            success_rate=message.success_rate,
            latency_mean=message.latency_mean.ToTimedelta(),
            latency_p50=message.latency_p50.ToTimedelta(),
            latency_p95=message.latency_p95.ToTimedelta(),
            latency_p99=message.latency_p99.ToTimedelta(),
        )


@dataclass(frozen=True, slots=True)
class Overview:
    """What the fleet did: in all, by agent's name, by capability."""

    totals: Totals
    agents: Mapping[str, Totals]
    capabilities: Mapping[str, Totals]

    @classmethod
    def from_proto(cls, message: analytics_service_pb2.Overview) -> Self:
        """Decode an overview."""
        return cls(
            totals=Totals.from_proto(message.totals),
            agents={each.agent_name: Totals.from_proto(each.totals) for each in message.agents},
            capabilities={
                each.capability: Totals.from_proto(each.totals) for each in message.capabilities
            },
        )
