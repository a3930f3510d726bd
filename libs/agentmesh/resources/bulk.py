"""Operations on many tasks, as the client returns them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from agentmesh.resources.times import time_in
from mesh.task.v1 import bulk_service_pb2


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """One thing done to many tasks.

    Attributes:
        action: `CANCEL`, `RETRY` or `REPLAY`.
        filter: Which tasks.
        state: `RUNNING`, `DONE` or `STOPPED`.
        done: Tasks that it was done to.
        refused: Tasks that refused, for example because they ended meanwhile.
        total: Tasks that matched when it started, exact to 100000.
    """

    id: str
    action: str
    filter: str
    state: str
    done: int
    refused: int
    total: int
    creator: str
    create_time: datetime
    end_time: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.state != "RUNNING"

    @classmethod
    def from_proto(cls, message: bulk_service_pb2.BulkOperation) -> Self:
        """Decode an operation."""
        action = bulk_service_pb2.BulkOperation.Action.Name(message.action)
        state = bulk_service_pb2.BulkOperation.State.Name(message.state)
        return cls(
            id=message.id,
            action=action.removeprefix("ACTION_"),
            filter=message.filter,
            state=state.removeprefix("STATE_"),
            done=message.done,
            refused=message.refused,
            total=message.total,
            creator=message.creator,
            create_time=message.create_time.ToDatetime(UTC),
            end_time=time_in(message, "end_time"),
        )
