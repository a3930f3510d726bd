"""Finished tasks to judge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmesh.demo.following import Outcome
from agentmesh.demo.script import End, Step
from agentmesh.payloads import to_value
from agentmesh.resources import Progress, Task, TaskError, TaskEvent
from mesh.task.v1 import task_pb2

SUCCESS = End("SUCCEEDED")
LIKENESS: Mapping[str, Any] = {"shared": 3, "jaccard": 0.5, "cosine": 1}
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def outcome(
    state: str = "SUCCEEDED",
    *,
    end: End = SUCCESS,
    capability: str = "words.compare",
    agent_id: str = "1",
    attempt: int = 1,
    result: Any = LIKENESS,
    error: TaskError | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Return a step and its task, as both are at the end."""
    task = make_task(
        state,
        capability=capability,
        agent_id=agent_id,
        attempt=attempt,
        result=result,
        error=error,
        progress=progress,
    )
    return Outcome(Step("a step", capability, {}, end), task)


def make_task(
    state: str,
    *,
    capability: str,
    agent_id: str = "1",
    attempt: int = 1,
    result: Any = None,
    error: TaskError | None = None,
    progress: Progress | None = None,
) -> Task:
    """Return a task as the mesh would tell of it."""
    message = task_pb2.Task(
        id="0",
        capability=capability,
        state=task_pb2.TaskState.Value(f"TASK_STATE_{state}"),
        agent_id=agent_id,
        attempt=attempt,
        result=to_value(result),
    )
    message.create_time.FromDatetime(BEGIN)
    if error is not None:
        message.error.type, message.error.message = error.type, error.message
    if progress is not None:
        message.progress.fraction = progress.fraction
        message.progress.message = progress.message
    if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
        message.end_time.FromDatetime(BEGIN + timedelta(seconds=2))
    return Task.from_proto(message)


def make_event(sequence: int, type_: str, task: Task) -> TaskEvent:
    """Return an event as the mesh would tell of it."""
    return TaskEvent.from_proto(
        task_pb2.TaskEvent(
            sequence=sequence,
            type=task_pb2.TaskEvent.Type.Value(f"TYPE_{type_}"),
            task=task.to_proto(),
        )
    )
