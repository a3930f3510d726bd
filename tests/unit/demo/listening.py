"""Hears what a handler says, as the mesh would."""

from __future__ import annotations

from agentmesh import Client
from agentmesh.resources import Progress
from agentmesh.voice import Said
from mesh.task.v1 import dispatch_service_pb2


class Listening:
    """A voice that keeps what was said; calls the task off once it has come so far."""

    cancelled = False

    def __init__(self, *, cancel_at: float | None = None) -> None:
        self.reports: list[Progress] = []
        self.called_off = False
        self._cancel_at = cancel_at

    def progress(self, fraction: float, message: str) -> Said:
        """Keep progress."""
        self.reports.append(Progress(fraction, message))
        if self._cancel_at is not None and fraction >= self._cancel_at:
            self.called_off = True
        return Said()

    def output(self, data: bytes, content_type: str) -> Said:
        """Refuse: the sample agents stream no output."""
        raise AssertionError((data, content_type))

    def heartbeat(self, beat: dispatch_service_pb2.TaskHeartbeat) -> Said:
        """Refuse: the sample agents leave no checkpoints."""
        raise AssertionError(beat)

    def client(self) -> Client:
        """Refuse: the sample agents create nothing."""
        raise AssertionError

    def seconds_since_start(self) -> float:
        """Return no time."""
        return 0.0
