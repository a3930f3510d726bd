"""Errors on their way over the wire and back."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from meshkit import errors
from meshkit.errors import DomainError, FieldViolation, Kind
from meshkit.statuses import CODES, DETAILS_KEY, from_peer_error, from_rpc_error, to_status

KINDS: dict[Kind, type[DomainError]] = {
    each.kind: each
    for each in (
        DomainError,
        errors.InvalidArgument,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.Aborted,
        errors.ResourceExhausted,
        errors.DeadlineExceeded,
        errors.Unavailable,
    )
}
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ERRORS = st.builds(
    lambda kind, message, **rest: KINDS[kind](message, **rest),
    st.sampled_from(Kind),
    WORDS,
    reason=st.from_regex(r"[A-Z_]{1,32}", fullmatch=True),
    violations=st.lists(st.builds(FieldViolation, WORDS, WORDS), max_size=8).map(tuple),
    retry_after=st.none() | st.floats(0, 86_400),
    metadata=st.dictionaries(WORDS, WORDS, max_size=3),
)


def rpc_error(code: grpc.StatusCode, words: str, details: bytes | None = None) -> aio.AioRpcError:
    trailers = aio.Metadata() if details is None else aio.Metadata((DETAILS_KEY, details))
    return aio.AioRpcError(code, aio.Metadata(), trailers, words)


def over_the_wire(error: DomainError) -> DomainError:
    status = to_status(error, "request-1")
    return from_rpc_error(rpc_error(CODES[error.kind], status.message, status.SerializeToString()))


@given(error=ERRORS)
def test_any_error_survives_the_wire(error: DomainError) -> None:
    received = over_the_wire(error)

    assert type(received) is KINDS[error.kind]
    assert (received.message, received.reason) == (error.message, error.reason)
    assert (received.violations, received.metadata) == (error.violations, error.metadata)
    assert received.retry_after == pytest.approx(error.retry_after, abs=1e-8)


def test_each_kind_has_its_class_and_its_code() -> None:
    assert set(KINDS) == set(CODES) == set(Kind)
    assert len(set(CODES.values())) == len(Kind)


def test_the_request_id_travels_along() -> None:
    info = RequestInfo()
    assert to_status(DomainError("x"), "request-1").details[-1].Unpack(info)
    assert info.request_id == "request-1"
    assert len(to_status(DomainError("x"), "").details) == 1


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), times=st.just(2000))
def test_whatever_an_error_quotes_it_fits_the_trailers(text: str, times: int) -> None:
    error = errors.InvalidArgument(
        text * times, violations=(FieldViolation(text * times, text * times),) * times
    )
    status = to_status(error, "r" * 128)

    assert text.startswith(status.message.removesuffix("…")[: len(text)])
    assert len(status.SerializeToString()) + len(status.message.encode()) < 8192


@pytest.mark.parametrize("code", [each for each in grpc.StatusCode if each is not each.OK])
@pytest.mark.parametrize("details", [None, b"\xff\xff"], ids=["no details", "broken details"])
def test_the_words_of_the_transport_go_no_further(
    code: grpc.StatusCode, details: bytes | None
) -> None:
    received = from_rpc_error(rpc_error(code, "ipv4:10.0.0.1:50053: refused", details))

    assert "10.0.0.1" not in received.message
    expected = {CODES[kind]: KINDS[kind] for kind in Kind} | {code.CANCELLED: errors.Unavailable}
    assert type(received) is expected.get(code, DomainError)


def test_a_field_given_by_itself_is_blamed_with_the_message() -> None:
    error: Any = errors.InvalidArgument("too long", field="task.name")
    assert error.violations == (FieldViolation("task.name", "too long"),)
    assert Status.FromString(to_status(error, "").SerializeToString()).code == 3


@pytest.mark.parametrize("refusal", [errors.Unauthenticated("no"), errors.PermissionDenied("no")])
def test_a_peer_that_refuses_this_service_says_nothing_of_the_caller(refusal: DomainError) -> None:
    status = to_status(refusal, "r")
    received = from_peer_error(rpc_error(CODES[refusal.kind], "no", status.SerializeToString()))
    assert isinstance(received, errors.Unavailable)
    assert received.metadata == {}


def test_any_other_answer_of_a_peer_is_passed_on() -> None:
    status = to_status(errors.NotFound("gone", reason="AGENT_NOT_FOUND"), "r")
    code = grpc.StatusCode.NOT_FOUND
    received = from_peer_error(rpc_error(code, "gone", status.SerializeToString()))
    assert (type(received), received.reason) == (errors.NotFound, "AGENT_NOT_FOUND")
