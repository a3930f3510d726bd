"""The one table between domain errors and gRPC statuses, read in both directions."""

from __future__ import annotations

from typing import Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from meshkit import errors
from meshkit.errors import DomainError, FieldViolation, Kind

log = structlog.get_logger()

DOMAIN: Final = "agentmesh"
DETAILS_KEY: Final = "grpc-status-details-bin"

_MAX_MESSAGE: Final = 512
_MAX_VIOLATIONS: Final = 8
_MAX_FIELD: Final = 128
_MAX_DESCRIPTION: Final = 192

CODES: Final[dict[Kind, grpc.StatusCode]] = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.ABORTED: grpc.StatusCode.ABORTED,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}

_ERRORS: Final[dict[grpc.StatusCode, type[DomainError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    # A peer that stops ends its running calls with it; one's own cancellation raises another error.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
}

_TRANSPORT_WORDS: Final[dict[type[DomainError], str]] = {
    errors.Unavailable: "A service that is needed can't be reached now. Try again.",
    errors.DeadlineExceeded: "A service that is needed did not answer in time. Try again.",
}


def to_status(error: DomainError, request_id: str) -> Status:
    """Encode an error as google.rpc.Status with its details, for the caller to read.

    What quotes the caller's input is cut: an error travels in trailing metadata, of
    which clients accept 8 KiB.
    """
    status = Status(code=CODES[error.kind].value[0], message=_cut(error.message, _MAX_MESSAGE))
    for detail in _details(error, request_id):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: DomainError, request_id: str) -> list[Message]:
    details: list[Message] = [
        ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    ]
    if error.violations:
        violations = [
            BadRequest.FieldViolation(
                field=_cut(violation.field, _MAX_FIELD),
                description=_cut(violation.description, _MAX_DESCRIPTION),
            )
            for violation in error.violations[:_MAX_VIOLATIONS]
        ]
        details.append(BadRequest(field_violations=violations))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1_000_000_000))
        details.append(RetryInfo(retry_delay=delay))
    if request_id:
        details.append(RequestInfo(request_id=request_id))
    return details


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[:most_bytes].decode(errors="ignore") + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> DomainError:
    """Decode what a peer answered, so that the caller's code need not know gRPC.

    An answer that no service of the mesh wrote is logged and decoded without its
    words: they are the transport's and tell of addresses.
    """
    kind = _ERRORS.get(error.code(), DomainError)
    status = _status_of(error)
    if status is None:
        log.warning("transport failed", code=error.code().name, details=error.details())
        return kind(_TRANSPORT_WORDS.get(kind, "A service that is needed failed."))
    decoded = kind(status.message)
    _apply_details(decoded, status)
    return decoded


def from_peer_error(error: grpc.aio.AioRpcError) -> DomainError:
    """Decode what a peer answered to a call that this service made on somebody's behalf.

    A peer that refuses this service's own credential says nothing of the caller's.
    """
    decoded = from_rpc_error(error)
    if isinstance(decoded, errors.Unauthenticated | errors.PermissionDenied):
        log.error("a peer refuses this service", reason=decoded.reason, cause=decoded.message)
        return errors.Unavailable("A service that is needed refuses this one. Try again.")
    return decoded


def _status_of(error: grpc.aio.AioRpcError) -> Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                return None
    return None


def _apply_details(error: DomainError, status: Status) -> None:
    for packed in status.details:
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if packed.Unpack(info):
            error.reason = info.reason
            error.metadata = dict(info.metadata)
        elif packed.Unpack(bad):
            error.violations = tuple(
                FieldViolation(violation.field, violation.description)
                for violation in bad.field_violations
            )
        elif packed.Unpack(retry):
            error.retry_after = retry.retry_delay.ToNanoseconds() / 1_000_000_000
