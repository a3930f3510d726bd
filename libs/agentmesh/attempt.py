"""One attempt of one task, from its assignment to the report of its end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.struct_pb2 import Value

from agentmesh.errors import MeshError, TaskFailed, TaskPaused
from agentmesh.failures import failure_of, failure_report, pause_report
from agentmesh.handlers import Handler
from agentmesh.outbox import Kind, Outbox, Report, merge_heartbeat
from agentmesh.payloads import encode_result, from_struct
from agentmesh.task_context import TaskContext
from agentmesh.text import clean
from agentmesh.voice import Said
from mesh.task.v1 import dispatch_service_pb2

if TYPE_CHECKING:
    from agentmesh.client import Client

log = logging.getLogger("agentmesh")

_PIECE_BYTES: Final = 256 << 10
_DONE_WITH_NOTHING: Final = dispatch_service_pb2.Completion(
    result=Value(null_value=0)  # type: ignore[arg-type] # the enum's only value
)
_STOPPED: Final = dispatch_service_pb2.Stopped()


class Attempt:
    """Runs a handler, carries what it says, and knows how it ended.

    Attributes:
        key: Of its lease.
        task: Its coroutine, once it runs.
        lost: Whether its lease is gone: nothing more is reported.
    """

    __slots__ = (
        "_assignment", "_began", "_cancel_asked", "_cancel_seen", "_client", "_handler", "_loop",
        "_outbox", "_thread", "key", "lost", "task",
    )  # fmt: skip

    def __init__(
        self,
        assignment: dispatch_service_pb2.Assignment,
        handler: Handler,
        outbox: Outbox,
        client: Callable[[], Client],
    ) -> None:
        lease = assignment.lease
        self.key = (lease.task_id, lease.epoch)
        self.lost = False
        self._assignment = assignment
        self._handler = handler
        self._outbox = outbox
        self._client = client
        self._began = 0.0
        self._cancel_asked = False
        self._cancel_seen = False
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None

    async def report(self) -> Report:
        """Run the handler and return how it ended.

        Raises:
            asyncio.CancelledError: The lease is lost, and there is nothing to report.
        """
        self._began = time.monotonic()
        try:
            return await self._end()
        except asyncio.CancelledError:
            if self.lost:
                raise
            if self._cancel_asked:
                return self._stopped()
            # Not called off by the mesh: the handler cancelled itself.
            return failure_report(self._lease, "CancelledError", "the handler was cancelled")
        except TaskPaused as paused:
            return pause_report(self._lease, paused)
        except Exception as error:
            if self._cancel_seen:
                return self._stopped()
            if not isinstance(error, TaskFailed):
                log.exception("task %s failed", self.key[0])
            return failure_of(self._lease, error)

    async def _end(self) -> Report:
        if self._cancel_asked:
            return self._stopped()
        task = self._assignment.task
        data = (
            await self._client().blobs.value_of(task.input_payload)
            if task.HasField("input_payload")
            else from_struct(task.input)
        )
        result = await self._handler.run(TaskContext(self._assignment, self), data)
        return self._stopped() if self._cancel_seen else await self._completion(result)

    def ask_to_stop(self) -> None:
        """Have the handler stop in order: what it reports until then still counts."""
        self._cancel_asked = True
        # A plain function is not interrupted; it looks by itself. One that hasn't begun won't.
        if self.task is not None and self._began and self._handler.is_coroutine:
            self.task.cancel()

    def abandon(self) -> None:
        """Stop the handler; nothing more is reported of it."""
        self.lost = self._cancel_asked = True
        if self.task is not None:
            self.task.cancel()

    @property
    def cancelled(self) -> bool:
        """Tell the handler whether it is to stop, and remember that it knows."""
        self._cancel_seen = self._cancel_seen or self._cancel_asked
        return self._cancel_asked

    def progress(self, fraction: float, message: str) -> Said:
        """Report how far the task has come."""
        self._on_loop(self._progress, fraction, clean(message, 1024))
        return Said()

    def output(self, data: bytes, content_type: str) -> Said:
        """Report a piece of output, divided if it is large."""
        for start in range(0, len(data), _PIECE_BYTES):
            self._on_loop(self._output, data[start : start + _PIECE_BYTES], content_type)
        if threading.get_ident() != self._thread:
            # A thread waits here, for it can't await.
            asyncio.run_coroutine_threadsafe(self._outbox.room.wait(), self._loop).result()
        return Said(self._outbox.room)

    def heartbeat(self, beat: dispatch_service_pb2.TaskHeartbeat) -> Said:
        """Report a sign of life."""
        self._on_loop(self._heartbeat, beat)
        return Said()

    def client(self) -> Client:
        """Return a client with the agent's own credential."""
        return self._client()

    def seconds_since_start(self) -> float:
        """Return how long this attempt has been running here."""
        return time.monotonic() - self._began

    @property
    def _lease(self) -> dispatch_service_pb2.Lease:
        return self._assignment.lease

    async def _completion(self, result: Any) -> Report:
        if result is None:
            return Report(lease=self._lease, completion=_DONE_WITH_NOTHING)
        report = Report(lease=self._lease)
        large = encode_result(report.completion, result)
        if large is not None:
            try:
                stored = await self._client().blobs.store(large)
            except MeshError as error:
                words = f"the result of {len(large.data)} bytes could not be stored: {error}"
                raise TaskFailed(
                    words, type="ResultNotStored", retryable=error.is_transient
                ) from error
            report.completion.payload.CopyFrom(stored)
        return report

    def _stopped(self) -> Report:
        return Report(lease=self._lease, stopped=_STOPPED)

    def _on_loop(self, say: Callable[..., None], *arguments: Any) -> None:
        if threading.get_ident() == self._thread:
            say(*arguments)
        else:
            self._loop.call_soon_threadsafe(say, *arguments)

    def _progress(self, fraction: float, message: str) -> None:
        report = self._outbox.latest(self.key, Kind.PROGRESS)
        if report is not None:
            report.progress.fraction, report.progress.message = fraction, message
            report.progress.SetInParent()

    def _output(self, data: bytes, content_type: str) -> None:
        report = Report(lease=self._lease)
        report.output.data, report.output.content_type = data, content_type
        self._outbox.add_output(self.key, report)

    def _heartbeat(self, beat: dispatch_service_pb2.TaskHeartbeat) -> None:
        report = self._outbox.latest(self.key, Kind.HEARTBEAT)
        if report is not None:
            report.heartbeat.SetInParent()
            merge_heartbeat(report.heartbeat, beat)
