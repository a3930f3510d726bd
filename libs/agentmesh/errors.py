"""What the SDK raises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

if TYPE_CHECKING:
    from agentmesh.resources import Task

_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
# A server that goes ends the calls that are under way as cancelled.
_TRANSIENT: Final = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"}
# So a stream ends that was under way when the replica behind the gateway died: gRPC calls that
# INTERNAL, and what the mesh itself calls so comes with a reason.
_RESET: Final = "RST_STREAM"
# Refusals for a reason that the same call in a moment would meet again.
_LASTING: Final = {"CONCURRENCY_LIMIT", "BUDGET_EXCEEDED", "QUOTA_EXCEEDED"}


class MeshError(Exception):
    """The mesh refused a call, or could not be reached.

    Attributes:
        code: The gRPC status, for example `NOT_FOUND`.
        reason: Machine-readable cause, for example `TASK_NOT_FOUND`; may be empty.
        fields: What is wrong with which request field.
        metadata: Further machine-readable facts.
        retry_after: How long to wait before another try, if the mesh said so.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        fields: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.fields = dict(fields or {})
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed in a moment."""
        return self.code in _TRANSIENT and self.reason not in _LASTING


class TaskFailed(Exception):
    """A task's end that isn't success; raised by handlers to fail, and by the client on waiting.

    Attributes:
        type: Class of the error.
        retryable: Whether another attempt may succeed.
        retry_after: How long to wait before another attempt, as the cause asked for.
        pause_key: Key of a rate or concurrency limit of the task: no task of the key
            starts for `retry_after`.
        task: The task, where the client raises.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str = "TaskFailed",  # noqa: A002 - the contract's word
        retryable: bool | None = None,
        retry_after: timedelta | float | None = None,
        pause_key: str = "",
        task: Task | None = None,
    ) -> None:
        """Describe the failure.

        Args:
            message: What happened, in words.
            type: Class of the error, for a policy's `non_retryable_types`.
            retryable: Whether another attempt may succeed; if not said, it may when
                there is a `retry_after`.
            retry_after: Least wait before another attempt, in seconds if a number.
            pause_key: Key of a limit of the task that is to pause for so long.
            task: The task that failed.
        """
        super().__init__(message)
        self.type = type
        self.retryable = retry_after is not None if retryable is None else retryable
        self.retry_after = (
            retry_after
            if isinstance(retry_after, timedelta) or retry_after is None
            else timedelta(seconds=retry_after)
        )
        self.pause_key = pause_key
        self.task = task


class TaskPaused(BaseException):
    """Hands a task back until it is answered; raised by `TaskContext.pause`.

    Not an `Exception`, so that a handler that catches those lets it pass.
    """


def from_rpc_error(error: aio.AioRpcError) -> MeshError:
    """Decode what the mesh answered."""
    status = Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            status.ParseFromString(value)
    decoded = from_status(status)
    decoded.code = error.code().name
    message = error.details() or error.code().name
    if error.code() is grpc.StatusCode.INTERNAL and not decoded.reason and _RESET in message:
        decoded.code = grpc.StatusCode.UNAVAILABLE.name
    if decoded.code == grpc.StatusCode.UNAVAILABLE.name and not decoded.reason:
        message = f"the mesh can't be reached: {message}"
    decoded.args = (message,)
    return decoded


def from_status(status: Status) -> MeshError:
    """Decode why the mesh refused one of many."""
    decoded = MeshError(status.message, code=_CODES.get(status.code, "UNKNOWN"))
    for packed in status.details:
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if packed.Unpack(info):
            decoded.reason, decoded.metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad):
            decoded.fields = {each.field: each.description for each in bad.field_violations}
        elif packed.Unpack(retry):
            decoded.retry_after = retry.retry_delay.ToTimedelta()
    return decoded
