"""Between the messages of analytics and its domain."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration

from mesh.analytics.v1 import analytics_service_pb2, invocation_pb2
from meshkit.errors import InvalidArgument
from meshkit.filtering import STRING, TIME, Filter, enum, parse
from meshkit.filtering import UUID as ID
from meshkit.ids import read_uuid
from meshkit.timestamps import from_timestamp, to_timestamp
from services.analytics.domain import (
    AgentTotals,
    CapabilityTotals,
    Invocation,
    Outcome,
    Overview,
    Period,
    Totals,
)

_FILTER_FIELDS: Final = {
    "agent_id": ID,
    "capability": STRING,
    "task_id": ID,
    "outcome": enum(Outcome),
    "end_time": TIME,
}
_NANOSECONDS: Final = 1_000_000_000
_LONGEST: Final = 10 * 365 * 86_400.0
_OUTCOMES: Final = {
    Outcome.SUCCEEDED: invocation_pb2.OUTCOME_SUCCEEDED,
    Outcome.FAILED: invocation_pb2.OUTCOME_FAILED,
    Outcome.CANCELLED: invocation_pb2.OUTCOME_CANCELLED,
}
_OUTCOMES_BY_NUMBER: Final = {number: outcome for outcome, number in _OUTCOMES.items()}


def invocations_from_proto(
    request: analytics_service_pb2.BatchCreateInvocationsRequest,
) -> list[Invocation]:
    """Decode the invocations to record.

    Raises:
        InvalidArgument: A time is none, or a span is longer than ten years.
    """
    return [
        _invocation(message, f"invocations[{position}]")
        for position, message in enumerate(request.invocations)
    ]


def invocation_to_proto(invocation: Invocation) -> invocation_pb2.Invocation:
    """Encode an invocation."""
    return invocation_pb2.Invocation(
        id=str(invocation.id),
        task_id=str(invocation.task_id),
        capability=invocation.capability,
        agent_id=str(invocation.agent_id or ""),
        agent_name=invocation.agent_name,
        caller=invocation.caller,
        outcome=_OUTCOMES[invocation.outcome],
        error_type=invocation.error_type,
        attempts=invocation.attempts,
        queue_time=_duration(invocation.queue_time),
        latency=_duration(invocation.latency),
        end_time=to_timestamp(invocation.end_time),
    )


def overview_to_proto(overview: Overview) -> analytics_service_pb2.Overview:
    """Encode an overview."""
    return analytics_service_pb2.Overview(
        totals=_totals(overview.totals),
        agents=[_agent_totals(each) for each in overview.agents],
        capabilities=[_capability_totals(each) for each in overview.capabilities],
    )


def period_from_proto(request: analytics_service_pb2.GetOverviewRequest) -> Period:
    """Decode the period that an overview is wanted of.

    Raises:
        PeriodEmpty: It doesn't end after it starts.
    """
    return Period(from_timestamp(request, "start_time"), from_timestamp(request, "end_time"))


def invocation_filter(expression: str) -> Filter | None:
    """Decode a filter of invocations; None selects all of them.

    Raises:
        InvalidArgument: The expression can't be read, or a value is not one of its field's.
    """
    return parse(expression, _FILTER_FIELDS)


def _invocation(message: invocation_pb2.Invocation, path: str) -> Invocation:
    end_time = from_timestamp(message, "end_time", path=f"{path}.end_time")
    if end_time is None:
        raise InvalidArgument("When did it end?", field=f"{path}.end_time")
    agent_id = message.agent_id
    return Invocation(
        id=read_uuid(message.id),
        task_id=read_uuid(message.task_id),
        capability=message.capability,
        agent_id=read_uuid(agent_id) if agent_id else None,
        agent_name=message.agent_name,
        caller=message.caller,
        outcome=_OUTCOMES_BY_NUMBER[message.outcome],
        error_type=message.error_type,
        attempts=message.attempts,
        queue_time=_seconds(message, "queue_time", path),
        latency=_seconds(message, "latency", path),
        end_time=end_time,
    )


def _seconds(message: invocation_pb2.Invocation, field: str, path: str) -> float | None:
    if not message.HasField(field):  # type: ignore[arg-type]  # both names are fields
        return None
    span: Duration = getattr(message, field)
    seconds = span.seconds + span.nanos / _NANOSECONDS
    if not 0 <= seconds <= _LONGEST:
        raise InvalidArgument(
            f"A span of {seconds:g} s is not one of 0 to {_LONGEST:g} s.", field=f"{path}.{field}"
        )
    return seconds


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * _NANOSECONDS))
    return duration


def _totals(totals: Totals) -> invocation_pb2.Totals:
    latency = totals.latency
    return invocation_pb2.Totals(
        total=totals.total,
        succeeded=totals.succeeded,
        failed=totals.failed,
        cancelled=totals.cancelled,
        success_rate=totals.success_rate,
        latency_mean=_duration(latency.mean if latency else None),
        latency_p50=_duration(latency.p50 if latency else None),
        latency_p95=_duration(latency.p95 if latency else None),
        latency_p99=_duration(latency.p99 if latency else None),
    )


def _agent_totals(agent: AgentTotals) -> invocation_pb2.AgentTotals:
    return invocation_pb2.AgentTotals(
        agent_id=str(agent.agent_id), agent_name=agent.agent_name, totals=_totals(agent.totals)
    )


def _capability_totals(capability: CapabilityTotals) -> invocation_pb2.CapabilityTotals:
    return invocation_pb2.CapabilityTotals(
        capability=capability.capability, totals=_totals(capability.totals)
    )
