"""Invocations and what they add up to. Spans of time are in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.analytics.errors import PeriodEmpty


class Outcome(StrEnum):
    """How an invocation ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(slots=True)
class Invocation:
    """One thing that an agent was asked to do, and how it went.

    Attributes:
        agent_id: None if no agent got to it.
        queue_time: From acceptance to the start of the last attempt; None if it never started.
        latency: From the start of the last attempt to the end; None if it never started.
    """

    id: UUID
    task_id: UUID
    capability: str
    agent_id: UUID | None
    agent_name: str
    caller: str
    outcome: Outcome
    error_type: str
    attempts: int
    queue_time: float | None
    latency: float | None
    end_time: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """An invocation and the id it got when it was recorded, by which records are ordered."""

    record_id: UUID
    invocation: Invocation


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` on and before `end`, where None is no bound.

    Raises:
        PeriodEmpty: It doesn't end after it starts.
    """

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise PeriodEmpty


@dataclass(frozen=True, slots=True)
class Latency:
    """Mean and percentiles of the latency of invocations that ran."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Totals:
    """How many invocations ended how; `latency` is None if none of them ran."""

    succeeded: int
    failed: int
    cancelled: int
    latency: Latency | None

    @property
    def total(self) -> int:
        """Count all of them."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def success_rate(self) -> float:
        """Return the share of those that succeeded among those that did or failed; 0 of none."""
        judged = self.succeeded + self.failed
        return self.succeeded / judged if judged else 0.0


@dataclass(frozen=True, slots=True)
class AgentTotals:
    """Totals of one agent, under the name last reported."""

    agent_id: UUID
    agent_name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class CapabilityTotals:
    """Totals of one capability."""

    capability: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class Overview:
    """What the fleet did in a period."""

    totals: Totals
    agents: Sequence[AgentTotals]
    capabilities: Sequence[CapabilityTotals]
