"""Periods, totals and the conversion of spans of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mesh.analytics.v1.analytics_service_pb2 import BatchCreateInvocationsRequest
from mesh.analytics.v1.invocation_pb2 import OUTCOME_SUCCEEDED, Invocation
from meshkit.errors import InvalidArgument
from meshkit.filtering import matches
from services.analytics.convert import (
    invocation_filter,
    invocation_to_proto,
    invocations_from_proto,
)
from services.analytics.domain import Outcome, Period, Totals
from services.analytics.errors import PeriodEmpty

ID = "01890000-0000-7000-8000-000000000000"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TEN_YEARS = 10 * 365 * 86_400


def message(latency: Duration) -> Invocation:
    return Invocation(
        id=ID,
        task_id=ID,
        capability="c",
        outcome=OUTCOME_SUCCEEDED,
        latency=latency,
        end_time=Timestamp(seconds=1),
    )


def test_a_period_ends_after_it_starts() -> None:
    Period(NOON, NOON + timedelta(microseconds=1))
    Period(None, NOON)
    Period(NOON, None)
    with pytest.raises(PeriodEmpty):
        Period(NOON, NOON)


def test_the_success_rate_leaves_out_what_was_called_off() -> None:
    assert Totals(3, 1, 6, None).success_rate == 0.75
    assert Totals(3, 1, 6, None).total == 10
    assert Totals(0, 0, 6, None).success_rate == 0


@given(nanoseconds=st.integers(0, 10 * 86_400 * 10**9))
def test_spans_of_up_to_ten_days_survive_to_the_nanosecond(nanoseconds: int) -> None:
    latency = Duration()
    latency.FromNanoseconds(nanoseconds)
    request = BatchCreateInvocationsRequest(invocations=[message(latency)])

    (decoded,) = invocations_from_proto(request)

    assert invocation_to_proto(decoded) == request.invocations[0]


@pytest.mark.parametrize(
    "latency", [Duration(seconds=-1), Duration(nanos=-1), Duration(seconds=TEN_YEARS + 1)]
)
def test_a_span_that_can_not_be_is_refused(latency: Duration) -> None:
    request = BatchCreateInvocationsRequest(invocations=[message(latency)])
    with pytest.raises(InvalidArgument) as refused:
        invocations_from_proto(request)
    assert [each.field for each in refused.value.violations] == ["invocations[0].latency"]


def test_a_filter_is_read() -> None:
    wanted = invocation_filter(
        f"outcome = FAILED AND agent_id = {ID} AND end_time >= {NOON:%FT%TZ}"
    )
    assert wanted is not None
    row = {"outcome": Outcome.FAILED, "agent_id": UUID(ID), "end_time": NOON}
    assert matches(wanted, row)
    assert not matches(wanted, row | {"outcome": Outcome.SUCCEEDED})
    assert not matches(wanted, row | {"end_time": NOON - timedelta(seconds=1)})
