"""What the task service announces, as events for the outbox."""

from __future__ import annotations

from typing import Final

from mesh.task.v1 import task_events_pb2, task_pb2
from meshkit.events.outbox import Event
from meshkit.timestamps import to_timestamp
from services.task.domain.states import TaskState
from services.task.domain.task import Task

TASK_FINISHED: Final = "mesh.task.v1.TaskFinished"

_STATES: Final = {
    TaskState.SUCCEEDED: task_pb2.TASK_STATE_SUCCEEDED,
    TaskState.FAILED: task_pb2.TASK_STATE_FAILED,
    TaskState.CANCELLED: task_pb2.TASK_STATE_CANCELLED,
    TaskState.DEAD_LETTERED: task_pb2.TASK_STATE_DEAD_LETTERED,
}


def task_finished(task: Task) -> Event:
    """Announce that a task has reached its terminal state.

    It does so once, so that its id is the event's too.
    """
    error = task.error
    payload = task_events_pb2.TaskFinished(
        task_id=str(task.id),
        capability=task.capability,
        state=_STATES[task.state],
        agent_id=str(task.agent_id) if task.agent_id else "",
        agent_name=task.agent_name,
        attempts=task.attempt,
        error=task_pb2.TaskError(type=error.type, message=error.message) if error else None,
        creator=task.creator,
        create_time=to_timestamp(task.create_time),
        start_time=to_timestamp(task.start_time),
        end_time=to_timestamp(task.end_time),
    )
    return Event(task.id, TASK_FINISHED, task.tenant, str(task.id), payload.SerializeToString())
