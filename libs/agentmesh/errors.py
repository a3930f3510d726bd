"""What the SDK raises."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

_DETAILS_KEY = "grpc-status-details-bin"


class MeshError(Exception):
    """The mesh refused a call, or could not be reached.

    Attributes:
        code: The gRPC status, for example `NOT_FOUND`.
        reason: Machine-readable cause, for example `TASK_NOT_FOUND`; may be empty.
        fields: What is wrong with which request field.
        metadata: Further machine-readable facts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        fields: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.fields = dict(fields or {})
        self.metadata = dict(metadata or {})

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


class TaskFailed(Exception):
    """A task's end that isn't success; raised by handlers to fail, and by the client on waiting.

    Attributes:
        type: Class of the error.
        retryable: Whether another attempt may succeed.
    """

    def __init__(self, message: str, *, type: str = "TaskFailed", retryable: bool = False) -> None:  # noqa: A002 - the contract's word
        super().__init__(message)
        self.type = type
        self.retryable = retryable


def from_rpc_error(error: aio.AioRpcError) -> MeshError:
    """Decode what the mesh answered."""
    reason, fields, metadata = "", {}, {}
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        for packed in Status.FromString(value).details:
            info, bad = ErrorInfo(), BadRequest()
            if packed.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif packed.Unpack(bad):
                fields = {each.field: each.description for each in bad.field_violations}
    message = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE and not reason:
        message = f"the mesh can't be reached: {message}"
    return MeshError(
        message, code=error.code().name, reason=reason, fields=fields, metadata=metadata
    )
