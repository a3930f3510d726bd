"""The tasks that an agent process works on, and what it still has to report."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping

from agentmesh.errors import TaskFailed
from agentmesh.handlers import Handler
from agentmesh.payloads import from_struct, to_value
from agentmesh.task_context import TaskContext
from mesh.task.v1 import dispatch_service_pb2, task_pb2

log = logging.getLogger("agentmesh")

Key = tuple[str, int]
"""Task id and epoch of a lease."""

_MESSAGE_LIMIT = 8192
_TYPE_LIMIT = 256
_MOST_REPORTS = 1000
# Below what the mesh accepts in a message, with room for what is around a report.
_MOST_BYTES = 1_000_000


class Running:
    """Runs assigned tasks and keeps their reports until the mesh has acknowledged them.

    A terminal report without a receipt outlives the stream it was sent on: it goes
    out again on the next one. Progress does not; only the latest of a task counts.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._progress: dict[Key, dispatch_service_pb2.Report] = {}
        self._unsent: dict[Key, dispatch_service_pb2.Report] = {}
        self._unacknowledged: dict[Key, dispatch_service_pb2.Report] = {}
        # What was sent on this stream, in order, for receipts come in the order of reports.
        self._sent: deque[tuple[Key, bool]] = deque()
        self._changed = asyncio.Event()

    def start(self, assignment: dispatch_service_pb2.Assignment) -> None:
        """Begin a task; a lease that is known already is passed over."""
        key = _key(assignment.lease)
        if key not in self._tasks and key not in self._unacknowledged:
            self._tasks[key] = asyncio.create_task(self._run(key, assignment.task))

    def stop(self, lease: dispatch_service_pb2.Lease) -> None:
        """Cancel a task whose lease is lost; nothing more is reported of it."""
        key = _key(lease)
        task = self._tasks.pop(key, None)
        self._progress.pop(key, None)
        if task is not None:
            log.info("task %s called off", key[0])
            task.cancel()
        self._changed.set()

    def acknowledge(self, receipt: dispatch_service_pb2.Receipt) -> None:
        """Take the receipt of the oldest report; a refusal means that the lease is lost."""
        key, is_end = self._sent.popleft()
        if not receipt.accepted:
            log.warning("report on task %s refused: %s", key[0], receipt.reason)
            self.stop(receipt.lease)
        if is_end or not receipt.accepted:
            self._unacknowledged.pop(key, None)
            self._unsent.pop(key, None)
        self._changed.set()

    def resend(self) -> None:
        """Have every report that got no receipt sent again, on a new stream."""
        self._sent.clear()
        self._unsent = dict(self._unacknowledged)
        self._changed.set()

    def leases(self) -> list[dispatch_service_pb2.Lease]:
        """Return the leases of the tasks that run."""
        return [_lease(key) for key in self._tasks]

    async def next_reports(self) -> list[dispatch_service_pb2.Report]:
        """Wait for reports to send, and return those there are, as many as a message may hold."""
        while not (self._unsent or self._progress):
            self._changed.clear()
            await self._changed.wait()
        # A task's progress goes before its end.
        reports: list[dispatch_service_pb2.Report] = []
        size = 0
        for waiting in (self._progress, self._unsent):
            while waiting and len(reports) < _MOST_REPORTS:
                key, report = next(iter(waiting.items()))
                size += report.ByteSize()
                if reports and size > _MOST_BYTES:
                    return reports
                self._sent.append((key, waiting is self._unsent))
                reports.append(waiting.pop(key))
        return reports

    async def idle(self) -> None:
        """Wait until nothing runs and everything is acknowledged."""
        while self._tasks or self._unacknowledged:
            self._changed.clear()
            await self._changed.wait()

    def release_all(self) -> None:
        """Give back what still runs."""
        for key, task in list(self._tasks.items()):
            task.cancel()
            self._end(key, dispatch_service_pb2.Report(release=dispatch_service_pb2.Release()))

    async def _run(self, key: Key, task: task_pb2.Task) -> None:
        report = await self._attempt(key, task)
        if report.ByteSize() > _MOST_BYTES:
            problem = f"the result has {report.ByteSize()} bytes; at most {_MOST_BYTES} fit"
            report = _failure("ResultTooLarge", problem, retryable=False)
        if key in self._tasks:
            self._end(key, report)

    async def _attempt(self, key: Key, task: task_pb2.Task) -> dispatch_service_pb2.Report:
        def report(fraction: float, message: str) -> None:
            self._report_progress(key, fraction, message)

        context = TaskContext(task.id, task.capability, task.attempt, dict(task.labels), report)
        try:
            handler = self._handlers[task.capability]
            result = to_value(await handler.run(context, from_struct(task.input)))
        except asyncio.CancelledError:
            if key not in self._tasks:
                raise
            # Not called off by the mesh: the handler cancelled itself.
            return _failure("CancelledError", "the handler was cancelled", retryable=True)
        except TaskFailed as error:
            return _failure(error.type, _words(error), retryable=error.retryable)
        except Exception as error:
            log.exception("task %s failed", task.id)
            return _failure(type(error).__name__, _words(error), retryable=True)
        return dispatch_service_pb2.Report(
            completion=dispatch_service_pb2.Completion(result=result)
        )

    def _report_progress(self, key: Key, fraction: float, message: str) -> None:
        if key in self._tasks:
            progress = task_pb2.TaskProgress(fraction=fraction, message=_clean(message, 1024))
            self._progress[key] = dispatch_service_pb2.Report(lease=_lease(key), progress=progress)
            self._changed.set()

    def _end(self, key: Key, report: dispatch_service_pb2.Report) -> None:
        report.lease.CopyFrom(_lease(key))
        self._tasks.pop(key, None)
        self._unacknowledged[key] = self._unsent[key] = report
        self._changed.set()


def _failure(type_: str, message: str, *, retryable: bool) -> dispatch_service_pb2.Report:
    error = task_pb2.TaskError(
        type=_clean(type_, _TYPE_LIMIT), message=_clean(message, _MESSAGE_LIMIT)
    )
    return dispatch_service_pb2.Report(
        failure=dispatch_service_pb2.Failure(error=error, retryable=retryable)
    )


def _words(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        log.exception("an error that has no words")
        return "(an error that has no words)"


def _clean(text: str, limit: int) -> str:
    """Leave out what no message or database may hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")[:limit]


def _key(lease: dispatch_service_pb2.Lease) -> Key:
    return lease.task_id, lease.epoch


def _lease(key: Key) -> dispatch_service_pb2.Lease:
    return dispatch_service_pb2.Lease(task_id=key[0], epoch=key[1])
