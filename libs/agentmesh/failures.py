"""Reports of attempts that did not do their task."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from agentmesh.errors import TaskFailed, TaskPaused
from agentmesh.outbox import Report
from agentmesh.text import clean, words_of
from mesh.task.v1 import dispatch_service_pb2

_MESSAGE_LIMIT: Final = 8192
_TYPE_LIMIT: Final = 256
_KEY_LIMIT: Final = 128
_NOT_AT_ALL: Final = timedelta()
_A_DAY: Final = timedelta(days=1)


def failure_of(lease: dispatch_service_pb2.Lease, error: Exception) -> Report:
    """Report what a handler raised; what isn't a TaskFailed may be tried again."""
    if not isinstance(error, TaskFailed):
        return failure_report(lease, type(error).__name__, words_of(error))
    report = failure_report(lease, error.type, words_of(error), retryable=error.retryable)
    if error.retry_after is not None:
        # Out of bounds, it would have the mesh refuse the report.
        report.failure.retry_after.FromTimedelta(min(max(error.retry_after, _NOT_AT_ALL), _A_DAY))
    report.failure.pause_key = clean(str(error.pause_key), _KEY_LIMIT)
    return report


def failure_report(
    lease: dispatch_service_pb2.Lease, type_: str, message: str, *, retryable: bool = True
) -> Report:
    """Report a failure."""
    report = Report(lease=lease)
    report.failure.error.type = clean(str(type_), _TYPE_LIMIT)
    report.failure.error.message = clean(message, _MESSAGE_LIMIT)
    report.failure.retryable = retryable
    return report


def pause_report(lease: dispatch_service_pb2.Lease, paused: TaskPaused) -> Report:
    """Report that a task waits for an answer."""
    return Report(lease=lease, pause=paused.args[0])
