"""Reading W3C Trace Context."""

from __future__ import annotations

from contextvars import copy_context

import pytest

from meshkit.telemetry.traces import TraceContext, current_trace, enter_call

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def entered(traceparent: str | None) -> TraceContext:
    return copy_context().run(enter_call, None, traceparent).trace


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_a_trace_goes_on_with_a_span_of_its_own(flags: str, sampled: bool) -> None:
    context = entered(f"00-{TRACE}-{SPAN}-{flags}")
    assert (context.trace_id, context.sampled) == (TRACE, sampled)
    assert context.span_id != SPAN
    assert entered(context.traceparent).trace_id == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_trace_begins_one(traceparent: str | None) -> None:
    first, second = entered(traceparent), entered(traceparent)
    assert TRACE != first.trace_id != second.trace_id
    assert (len(first.trace_id), len(first.span_id)) == (32, 16)
    assert not first.sampled
    assert current_trace() is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("r-1", True), ("A_b.9", True), ("x" * 128, True)]
    + [(each, False) for each in (None, "", "x" * 129, "bad id", "r-1\n", "ä")],
)
def test_a_request_id_is_kept_or_made_once(sent: str | None, kept: bool) -> None:
    ids = copy_context().run(enter_call, sent, None)
    assert (ids.request_id == sent) is kept
    assert ids.request_id == ids.request_id
    assert kept or len(ids.request_id) == 32
