"""What a handler says of its task, on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from mesh.task.v1 import dispatch_service_pb2

if TYPE_CHECKING:
    from agentmesh.client import Client


class Said:
    """What saying something returns: it is on its way; awaited, it gives others a turn.

    An await is where cancellation reaches a handler. Where output can't be sent as fast
    as it is made, it waits until there is room for more.
    """

    __slots__ = ("_room",)

    def __init__(self, room: asyncio.Event | None = None) -> None:
        self._room = room

    def __await__(self) -> Generator[Any, Any, None]:
        yield
        if self._room is not None and not self._room.is_set():
            yield from self._room.wait().__await__()


class Voice(Protocol):
    """Carries what a handler says; from any thread."""

    @property
    def cancelled(self) -> bool:
        """Tell whether the handler is to stop."""
        ...

    def progress(self, fraction: float, message: str) -> Said:
        """Report how far the task has come."""
        ...

    def output(self, data: bytes, content_type: str) -> Said:
        """Report a piece of output."""
        ...

    def heartbeat(self, beat: dispatch_service_pb2.TaskHeartbeat) -> Said:
        """Report a sign of life."""
        ...

    def client(self) -> Client:
        """Return a client with the agent's own credential."""
        ...

    def seconds_since_start(self) -> float:
        """Return how long this attempt has been running here."""
        ...
