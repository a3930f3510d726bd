"""Invocations to record in tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from mesh.analytics.v1.analytics_service_pb2 import BatchCreateInvocationsRequest
from mesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from mesh.analytics.v1.invocation_pb2 import OUTCOME_SUCCEEDED, Invocation, Outcome
from meshkit.ids import uuid7
from meshkit.timestamps import to_timestamp

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def span(seconds: float | None) -> Duration | None:
    """Write a span of time, to the nanosecond."""
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def invocation(
    *,
    capability: str = "text.count",
    agent_id: UUID | None = None,
    agent_name: str = "",
    task_id: UUID | None = None,
    outcome: Outcome.ValueType = OUTCOME_SUCCEEDED,
    latency: float | None = 0.5,
    end_time: datetime = NOON,
) -> Invocation:
    """Write an invocation with ids of its own."""
    return Invocation(
        id=str(uuid7()),
        task_id=str(task_id or uuid7()),
        capability=capability,
        agent_id=str(agent_id or ""),
        agent_name=agent_name,
        caller="key:tester",
        outcome=outcome,
        attempts=1,
        latency=span(latency),
        end_time=to_timestamp(end_time),
    )


def minutes(number: float) -> timedelta:
    """Return so many minutes."""
    return timedelta(minutes=number)


async def record(analytics: AnalyticsServiceStub, *invocations: Invocation) -> int:
    """Record invocations in one batch; return how many were new."""
    request = BatchCreateInvocationsRequest(invocations=invocations)
    return (await analytics.BatchCreateInvocations(request)).created
