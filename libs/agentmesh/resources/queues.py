"""Queues and pauses, as the client returns them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from agentmesh.resources.times import time_in
from mesh.task.v1 import queue_service_pb2


@dataclass(frozen=True, slots=True)
class Queue:
    """The tasks of one capability that have not ended; each count is exact to 10000.

    Attributes:
        queued: Ready, and waiting for an agent.
        running: Under way.
        scheduled: Waiting for their time or for other tasks.
        oldest_create_time: Of the one that has waited longest; None if none waits.
    """

    capability: str
    queued: int
    running: int
    scheduled: int
    oldest_create_time: datetime | None

    @classmethod
    def from_proto(cls, message: queue_service_pb2.Queue) -> Self:
        """Decode a queue."""
        return cls(
            capability=message.capability,
            queued=message.queued,
            running=message.running,
            scheduled=message.scheduled,
            oldest_create_time=time_in(message, "oldest_create_time"),
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Keeps tasks from going out.

    Attributes:
        capability, key, agent_id: What is paused; one of them, the others empty.
        until: When it ends by itself; None for when it is ended.
    """

    id: str
    capability: str
    key: str
    agent_id: str
    until: datetime | None
    reason: str
    creator: str
    create_time: datetime

    @classmethod
    def from_proto(cls, message: queue_service_pb2.Pause) -> Self:
        """Decode a pause."""
        return cls(
            id=message.id,
            capability=message.capability,
            key=message.key,
            agent_id=message.agent_id,
            until=time_in(message, "until"),
            reason=message.reason,
            creator=message.creator,
            create_time=message.create_time.ToDatetime(UTC),
        )
