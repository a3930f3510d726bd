"""What has happened to tasks, as the client returns it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from agentmesh.resources.task_parts import Progress, TaskError
from agentmesh.resources.tasks import Task
from agentmesh.resources.times import time_in
from mesh.task.v1 import task_pb2

_TYPES: Final = {
    number: name.removeprefix("TYPE_") for name, number in task_pb2.TaskEvent.Type.items()
}


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output that an agent streamed while it worked."""

    content_type: str
    data: bytes

    @property
    def text(self) -> str:
        """The data as text; a character that a piece's end cut in two is replaced."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One change of a task.

    Attributes:
        sequence: Place in the task's history, from 1 without gaps, except where output
            was kept only for its time.
        type: `CREATED`, `QUEUED`, `STARTED`, `PROGRESSED`, `OUTPUT`, `RETRYING`,
            `RELEASED`, `PAUSED`, `RESUMED`, `UPDATED`, `CANCEL_REQUESTED`, or an end:
            `SUCCEEDED`, `FAILED`, `CANCELLED` or `DEAD_LETTERED`.
        task: The task right after it, without its input.
        time: When it happened, by the database's clock.
        epoch: Of the lease under which it happened.
        offset: Where to go on watching many tasks; empty where one is watched.
        output: The piece of output, for `OUTPUT`.
    """

    sequence: int
    type: str
    task: Task
    time: datetime
    epoch: int
    offset: str
    output: Output | None

    @classmethod
    def from_proto(cls, message: task_pb2.TaskEvent) -> Self:
        """Decode an event."""
        output = message.output
        return cls(
            sequence=message.sequence,
            type=_TYPES.get(message.type, str(message.type)),
            task=Task.from_proto(message.task),
            time=message.time.ToDatetime(UTC),
            epoch=message.epoch,
            offset=message.offset,
            output=Output(output.content_type or "text/plain; charset=utf-8", output.data)
            if message.HasField("output")
            else None,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to do a task.

    Attributes:
        attempt: Number, from 1; one that was released or paused goes on under the same.
        epoch: Of its lease.
        outcome: `SUCCEEDED`, `FAILED`, `CANCELLED`, `RELEASED` or `PAUSED`; empty while it runs.
    """

    attempt: int
    epoch: int
    agent_id: str
    agent_name: str
    start_time: datetime
    end_time: datetime | None
    outcome: str
    error: TaskError | None
    progress: Progress | None

    @classmethod
    def from_proto(cls, message: task_pb2.Attempt) -> Self:
        """Decode an attempt."""
        outcome = task_pb2.Attempt.Outcome.Name(message.outcome).removeprefix("OUTCOME_")
        error, progress = message.error, message.progress
        return cls(
            attempt=message.attempt,
            epoch=message.epoch,
            agent_id=message.agent_id,
            agent_name=message.agent_name,
            start_time=message.start_time.ToDatetime(UTC),
            end_time=time_in(message, "end_time"),
            outcome=outcome if message.outcome else "",
            error=TaskError(error.type, error.message) if message.HasField("error") else None,
            progress=Progress(progress.fraction, progress.message)
            if message.HasField("progress")
            else None,
        )
