"""The attempts of a task, told from its history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.task.v1 import task_pb2
from meshkit.timestamps import set_time, to_timestamp
from services.task.convert.tasks import add_error, add_progress
from services.task.domain.states import EventType
from services.task.domain.task import TaskEvent

_OUTCOMES: Final = {
    EventType.SUCCEEDED: task_pb2.Attempt.OUTCOME_SUCCEEDED,
    EventType.FAILED: task_pb2.Attempt.OUTCOME_FAILED,
    EventType.DEAD_LETTERED: task_pb2.Attempt.OUTCOME_FAILED,
    EventType.RETRYING: task_pb2.Attempt.OUTCOME_FAILED,
    EventType.CANCELLED: task_pb2.Attempt.OUTCOME_CANCELLED,
    EventType.RELEASED: task_pb2.Attempt.OUTCOME_RELEASED,
    EventType.PAUSED: task_pb2.Attempt.OUTCOME_PAUSED,
}


def attempts_to_proto(events: Iterable[TaskEvent]) -> list[task_pb2.Attempt]:
    """Encode the attempts that a task's history tells of, the first first."""
    attempts: list[task_pb2.Attempt] = []
    running: task_pb2.Attempt | None = None
    for event in events:
        if event.type is EventType.STARTED:
            running = _started(event)
            attempts.append(running)
        elif running is None:
            continue
        elif event.type is EventType.PROGRESSED:
            add_progress(running, event.progress)
        elif event.type in _OUTCOMES:
            running.outcome = _OUTCOMES[event.type]
            set_time(running.end_time, event.time)
            if running.outcome == task_pb2.Attempt.OUTCOME_FAILED:
                # Any other may come with the error of an earlier attempt.
                add_error(running, event.error)
            running = None
    return attempts


def _started(event: TaskEvent) -> task_pb2.Attempt:
    return task_pb2.Attempt(
        attempt=event.attempt,
        epoch=event.epoch,
        agent_id=str(event.agent_id),
        agent_name=event.agent_name,
        start_time=to_timestamp(event.time),
    )
