"""Errors that inner code raises and that survive the wire both ways.

Inner code knows nothing of gRPC: it raises a `DomainError` of a kind, with a
reason out of `mesh.common.v1.ErrorReason`. One interceptor turns the kind into a
status code; `meshkit.statuses` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What sort of failure it is, and so what the caller can do about it."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    PRECONDITION = "precondition"
    ABORTED = "aborted"
    EXHAUSTED = "exhausted"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A request field that is wrong, by its proto path, and what is wrong with it."""

    field: str
    description: str


class DomainError(Exception):
    """A failure that the caller may know of.

    Attributes:
        message: A sentence for a person: what is wrong and what to do.
        violations: The request fields at fault, if any.
        retry_after: Seconds after which a retry makes sense, if one does.
        metadata: Further machine-readable facts.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.violations = (
            (*violations, FieldViolation(field, message)) if field is not None else violations
        )
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class InvalidArgument(DomainError):
    """The request itself is wrong; repeating it is no use."""

    kind = Kind.INVALID
    reason = "INVALID_ARGUMENT"


class Unauthenticated(DomainError):
    """There is no credential, or it is no good."""

    kind = Kind.UNAUTHENTICATED
    reason = "CREDENTIAL_INVALID"


class PermissionDenied(DomainError):
    """The credential is good but does not allow this."""

    kind = Kind.DENIED
    reason = "PERMISSION_DENIED"


class NotFound(DomainError):
    """There is no such thing in the caller's tenant."""

    kind = Kind.NOT_FOUND


class AlreadyExists(DomainError):
    """There is such a thing already."""

    kind = Kind.EXISTS


class FailedPrecondition(DomainError):
    """The thing is not in a state that allows this."""

    kind = Kind.PRECONDITION


class Aborted(DomainError):
    """Somebody else was faster; read anew and try again."""

    kind = Kind.ABORTED


class ResourceExhausted(DomainError):
    """A limit is reached; retry later."""

    kind = Kind.EXHAUSTED


class DeadlineExceeded(DomainError):
    """The call ran out of time."""

    kind = Kind.DEADLINE
    reason = "DEADLINE_EXCEEDED"


class Unavailable(DomainError):
    """Something that is needed can't be reached now; a retry may succeed."""

    kind = Kind.UNAVAILABLE
    reason = "DEPENDENCY_UNAVAILABLE"
