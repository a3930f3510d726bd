"""Totals, rates and percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.analytics.v1.analytics_service_pb2 import GetOverviewRequest, Overview
from mesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from mesh.analytics.v1.invocation_pb2 import (
    OUTCOME_CANCELLED,
    OUTCOME_FAILED,
    OUTCOME_SUCCEEDED,
    Invocation,
    Totals,
)
from meshkit.ids import uuid7
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from meshkit.timestamps import to_timestamp
from tests.integration.analytics.invocations import NOON, invocation, minutes, record

AGENTS = [UUID(int=number) for number in (1, 2, 3)]

INVOCATIONS = st.lists(
    st.builds(
        invocation,
        capability=st.sampled_from(["text.count", "csv.sum"]),
        agent_id=st.none() | st.sampled_from(AGENTS),
        outcome=st.sampled_from([OUTCOME_SUCCEEDED, OUTCOME_FAILED, OUTCOME_CANCELLED]),
        latency=st.none() | st.integers(0, 100_000).map(lambda number: number / 1000),
    ),
    min_size=1,
    max_size=30,
)


def seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def percentile(values: Sequence[float], share: float) -> float:
    """Interpolate between the two nearest values, as SQL's percentile_cont does."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def check(totals: Totals, of: Sequence[Invocation]) -> None:
    """Hold totals against a plain computation."""
    succeeded = sum(each.outcome == OUTCOME_SUCCEEDED for each in of)
    failed = sum(each.outcome == OUTCOME_FAILED for each in of)
    latencies = [seconds(each.latency) for each in of if each.HasField("latency")]
    assert totals.total == len(of)
    assert totals.succeeded == succeeded
    assert totals.failed == failed
    assert totals.cancelled == len(of) - succeeded - failed
    judged = succeeded + failed
    assert totals.success_rate == pytest.approx(succeeded / judged if judged else 0)
    assert totals.HasField("latency_mean") == bool(latencies)
    if latencies:
        assert seconds(totals.latency_mean) == pytest.approx(fmean(latencies), abs=1e-6)
        for answered, share in (
            (totals.latency_p50, 0.5),
            (totals.latency_p95, 0.95),
            (totals.latency_p99, 0.99),
        ):
            assert seconds(answered) == pytest.approx(percentile(latencies, share), abs=1e-6)


async def overview(
    analytics: AnalyticsServiceStub, start: datetime | None = None, end: datetime | None = None
) -> Overview:
    request = GetOverviewRequest(start_time=to_timestamp(start), end_time=to_timestamp(end))
    return await analytics.GetOverview(request)


@given(sent=INVOCATIONS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_totals_are_what_a_plain_computation_says(
    served: Served, tokens: TokenFactory, sent: list[Invocation]
) -> None:
    for each in sent:
        each.id = str(uuid7())
    channel = served.channel(tokens.sign("invocation:*", tenant=uuid7().hex))
    analytics = AnalyticsServiceStub(channel)
    await record(analytics, *sent)

    answer = await overview(analytics)

    check(answer.totals, sent)
    for agent in answer.agents:
        check(agent.totals, [each for each in sent if each.agent_id == agent.agent_id])
    for capability in answer.capabilities:
        name = capability.capability
        check(capability.totals, [each for each in sent if each.capability == name])
    assert {each.agent_id for each in answer.agents} == {each.agent_id for each in sent} - {""}
    assert {each.capability for each in answer.capabilities} == {each.capability for each in sent}
    for groups in (answer.agents, answer.capabilities):
        sizes = [each.totals.total for each in groups]
        assert sizes == sorted(sizes, reverse=True)


async def test_without_invocations_everything_is_zero(
    analytics: AnalyticsServiceStub, stranger: AnalyticsServiceStub
) -> None:
    await record(stranger, invocation(agent_id=AGENTS[0]))

    assert await overview(analytics) == Overview(totals=Totals())


async def test_a_period_includes_its_start_and_excludes_its_end(
    analytics: AnalyticsServiceStub,
) -> None:
    await record(
        analytics, *(invocation(end_time=NOON + minutes(number)) for number in (0, 1, 2, 3))
    )

    async def total(start: datetime | None, end: datetime | None) -> int:
        return (await overview(analytics, start, end)).totals.total

    assert await total(None, None) == 4
    assert await total(NOON + minutes(1), NOON + minutes(3)) == 2
    assert await total(NOON + minutes(1), None) == 3
    assert await total(None, NOON + minutes(1)) == 1
    assert await total(NOON + minutes(9), None) == 0


@pytest.mark.parametrize("end", [NOON, NOON - minutes(1)])
async def test_a_period_must_end_after_it_starts(
    analytics: AnalyticsServiceStub, end: datetime
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "start_time"):
        await overview(analytics, NOON, end)


async def test_a_time_that_is_none_is_refused(analytics: AnalyticsServiceStub) -> None:
    request = GetOverviewRequest()
    request.end_time.seconds = 10**15
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "end_time"):
        await analytics.GetOverview(request)


async def test_an_agent_goes_by_the_name_last_reported(analytics: AnalyticsServiceStub) -> None:
    agent = AGENTS[0]
    await record(analytics, invocation(agent_id=agent, agent_name="old", end_time=NOON))
    await record(
        analytics, invocation(agent_id=agent, agent_name="new", end_time=NOON - minutes(5))
    )

    answer = await overview(analytics, NOON)

    assert [(each.agent_name, each.totals.total) for each in answer.agents] == [("new", 1)]


async def test_only_the_busiest_hundred_are_named(analytics: AnalyticsServiceStub) -> None:
    busy = [invocation(agent_id=UUID(int=7), capability="busy") for _ in range(2)]
    others = [
        invocation(agent_id=UUID(int=1000 + number), capability=f"c{number}")
        for number in range(120)
    ]
    await record(analytics, *others, *busy)

    answer = await overview(analytics)

    assert answer.totals.total == 122
    assert len(answer.agents) == len(answer.capabilities) == 100
    assert answer.agents[0].agent_id == str(UUID(int=7))
    assert answer.capabilities[0].capability == "busy"
