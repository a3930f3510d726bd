"""Recording and listing invocations."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from mesh.analytics.v1.analytics_service_pb2 import (
    BatchCreateInvocationsRequest,
    ListInvocationsRequest,
)
from mesh.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from mesh.analytics.v1.invocation_pb2 import (
    OUTCOME_CANCELLED,
    OUTCOME_FAILED,
    Invocation,
)
from meshkit.ids import uuid7
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from meshkit.timestamps import to_timestamp
from tests.integration.analytics.invocations import NOON, invocation, minutes, record, span


async def ids(analytics: AnalyticsServiceStub, expression: str = "") -> list[str]:
    response = await analytics.ListInvocations(ListInvocationsRequest(filter=expression))
    return [each.id for each in response.invocations]


async def test_a_recorded_invocation_is_kept_whole(analytics: AnalyticsServiceStub) -> None:
    sent = Invocation(
        id=str(uuid7()),
        task_id=str(uuid7()),
        capability="text.count",
        agent_id=str(uuid7()),
        agent_name="counter-1",
        caller="key:someone",
        outcome=OUTCOME_FAILED,
        error_type="ValueError",
        attempts=3,
        queue_time=span(0.000_000_001),
        latency=span(86_400.123_456_789),
        end_time=to_timestamp(NOON),
    )

    assert await record(analytics, sent) == 1

    response = await analytics.ListInvocations(ListInvocationsRequest())
    assert list(response.invocations) == [sent]


async def test_one_that_never_ran_has_no_latency(analytics: AnalyticsServiceStub) -> None:
    sent = invocation(outcome=OUTCOME_CANCELLED, latency=None)

    await record(analytics, sent)

    response = await analytics.ListInvocations(ListInvocationsRequest())
    assert list(response.invocations) == [sent]
    assert not response.invocations[0].HasField("latency")


async def test_recording_again_changes_nothing(analytics: AnalyticsServiceStub) -> None:
    first, second = invocation(), invocation()
    altered = Invocation()
    altered.CopyFrom(first)
    altered.capability = "text.other"

    assert await record(analytics, first) == 1
    assert await record(analytics, altered, second, second) == 1
    assert await record(analytics, first, second) == 0

    response = await analytics.ListInvocations(ListInvocationsRequest())
    assert list(response.invocations) == [second, first]


async def test_batches_that_overlap_are_recorded_once(analytics: AnalyticsServiceStub) -> None:
    sent = [invocation() for _ in range(200)]

    created = await asyncio.gather(
        *(record(analytics, *(sent if turn % 2 else sent[::-1])) for turn in range(8))
    )

    assert sum(created) == 200
    assert created.count(0) == 7


async def test_the_same_id_in_two_tenants_is_two_invocations(
    analytics: AnalyticsServiceStub, stranger: AnalyticsServiceStub
) -> None:
    sent = invocation()

    assert await record(analytics, sent) == 1
    assert await ids(stranger) == []
    assert await record(stranger, sent) == 1
    assert await ids(analytics) == await ids(stranger) == [sent.id]


async def test_pages_go_from_the_latest_recorded_to_the_first(
    analytics: AnalyticsServiceStub,
) -> None:
    # What ended last is recorded first: it is the recording that counts.
    sent = [invocation(end_time=NOON - minutes(number)) for number in range(7)]
    await record(analytics, *sent[:4])
    await record(analytics, *sent[4:])
    seen: list[str] = []
    token = ""
    while len(seen) < 7:
        request = ListInvocationsRequest(page_size=3, page_token=token)
        page = await analytics.ListInvocations(request)
        seen += [each.id for each in page.invocations]
        token = page.next_page_token

    assert not token
    assert seen == [each.id for each in sent[::-1]]


async def test_filters_select_by_agent_capability_task_and_outcome(
    analytics: AnalyticsServiceStub,
) -> None:
    agent, task = uuid7(), uuid7()
    counted = invocation(agent_id=agent)
    failed = invocation(agent_id=agent, outcome=OUTCOME_FAILED, task_id=task)
    summed = invocation(capability="csv.sum", task_id=task)
    await record(analytics, counted, failed, summed)

    assert await ids(analytics, f"agent_id = {agent}") == [failed.id, counted.id]
    assert await ids(analytics, f"task_id = {str(task).upper()}") == [summed.id, failed.id]
    assert await ids(analytics, "capability = csv.sum") == [summed.id]
    assert await ids(analytics, "outcome = SUCCEEDED") == [summed.id, counted.id]
    assert await ids(analytics, f"outcome = FAILED AND agent_id = {agent}") == [failed.id]
    assert await ids(analytics, f"agent_id = {UUID(int=0)}") == []
    assert await ids(analytics, "agent_id:*") == [failed.id, counted.id]
    assert await ids(analytics, f"-agent_id = {agent}") == [summed.id]
    assert await ids(analytics, f"agent_id != {agent}") == []
    assert await ids(analytics, "outcome = FAILED OR capability = csv*") == [summed.id, failed.id]


async def test_filters_select_by_when_it_ended(analytics: AnalyticsServiceStub) -> None:
    sent = [invocation(end_time=NOON + minutes(number)) for number in range(3)]
    await record(analytics, *sent)

    assert await ids(analytics, "end_time >= 2026-05-04T12:01:00Z") == [sent[2].id, sent[1].id]
    assert await ids(
        analytics, "end_time > 2026-05-04T14:00:00+02:00 AND end_time < 2026-05-04T12:02:00Z"
    ) == [sent[1].id]


@pytest.mark.parametrize(
    "expression",
    [
        "agent_id = x",
        'task_id = ""',
        "outcome = DONE",
        "outcome = UNSPECIFIED",
        "caller = me",
        "end_time = now",
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(
    analytics: AnalyticsServiceStub, expression: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", "filter"):
        await analytics.ListInvocations(ListInvocationsRequest(filter=expression))


def spoiled(**changes: object) -> Invocation:
    sent = invocation()
    for field, value in changes.items():
        if isinstance(value, Duration | Timestamp):
            getattr(sent, field).CopyFrom(value)
        else:
            setattr(sent, field, value)
    return sent


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (spoiled(id="1"), "id"),
        (spoiled(task_id=""), "task_id"),
        (spoiled(agent_id="me"), "agent_id"),
        (spoiled(capability=""), "capability"),
        (spoiled(outcome=0), "outcome"),
        (spoiled(outcome=9), "outcome"),
        (spoiled(attempts=-1), "attempts"),
        (spoiled(latency=Duration(seconds=-1)), "latency"),
        (spoiled(latency=Duration(seconds=10**18)), "latency"),
        (spoiled(queue_time=Duration(nanos=-1)), "queue_time"),
        (spoiled(end_time=Timestamp(seconds=10**18)), "end_time"),
    ],
)
async def test_one_bad_invocation_has_the_batch_refused(
    analytics: AnalyticsServiceStub, sent: Invocation, field: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", f"invocations[1].{field}"):
        await record(analytics, invocation(), sent)
    assert await ids(analytics) == []


async def test_a_batch_has_1_to_1000(analytics: AnalyticsServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "invocations"):
        await analytics.BatchCreateInvocations(BatchCreateInvocationsRequest())
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "invocations"):
        await record(analytics, *(invocation() for _ in range(1001)))
    assert await record(analytics, *(invocation() for _ in range(1000))) == 1000


async def test_who_may_not_is_turned_away(served: Served, tokens: TokenFactory) -> None:
    nobody = AnalyticsServiceStub(served.channel())
    reader = AnalyticsServiceStub(served.channel(tokens.sign("invocation:read")))
    recorder = AnalyticsServiceStub(served.channel(tokens.sign("invocation:create")))

    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"):
        await ids(nobody)
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await record(reader, invocation())
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await ids(recorder)
    assert await record(recorder, invocation()) == 1


async def test_a_service_records_for_the_tenant_it_acts_for(
    analytics: AnalyticsServiceStub, served: Served, tokens: TokenFactory
) -> None:
    sent = invocation()
    token = tokens.sign("invocation:create", "mesh:delegate", tenant="mesh", subject="service:task")
    task_service = AnalyticsServiceStub(served.channel(token))

    await task_service.BatchCreateInvocations(
        BatchCreateInvocationsRequest(invocations=[sent]),
        metadata=(("x-agentmesh-tenant", "acme"), ("x-agentmesh-subject", "key:someone")),
    )

    assert await ids(analytics) == [sent.id]
