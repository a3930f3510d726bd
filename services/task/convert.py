"""Between task's messages and its domain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value

from mesh.task.v1 import dispatch_service_pb2, task_pb2, task_service_pb2
from meshkit.timestamps import to_timestamp
from services.task.dispatcher import Assigned, Draining, Lost, Message, Received
from services.task.domain import (
    EventType,
    Lease,
    NewTask,
    Progress,
    Task,
    TaskError,
    TaskEvent,
    TaskState,
)
from services.task.usecases.attempts import Completed, Failed, Outcome, Receipt, Released

STATES: Final = {state: task_pb2.TaskState.Value(f"TASK_STATE_{state.name}") for state in TaskState}
_EVENT_TYPES: Final = {
    type_: task_pb2.TaskEvent.Type.Value(f"TYPE_{type_.name}") for type_ in EventType
}


def new_task_from_proto(
    request: task_service_pb2.CreateTaskRequest, *, default_attempts: int
) -> NewTask:
    """Decode what a caller wants done; output-only fields are passed over."""
    task = request.task
    wanted = task_pb2.Task(
        capability=task.capability,
        input=task.input,
        priority=task.priority,
        labels=task.labels,
        max_attempts=task.max_attempts,
    )
    return NewTask(
        capability=wanted.capability,
        input=wanted.input.SerializeToString(deterministic=True),
        priority=wanted.priority,
        labels=dict(wanted.labels),
        max_attempts=wanted.max_attempts or default_attempts,
        request_id=request.request_id,
        digest=hashlib.sha256(wanted.SerializeToString(deterministic=True)).digest(),
    )


def task_to_proto(task: Task, *, with_payloads: bool = True) -> task_pb2.Task:
    """Encode a task, with its input and result unless many are to fit into a message."""
    message = task_pb2.Task(
        id=str(task.id),
        capability=task.capability,
        priority=task.priority,
        labels=task.labels,
        max_attempts=task.max_attempts,
        state=STATES[task.state],
        attempt=task.attempt,
        agent_id=str(task.agent_id) if task.agent_id else "",
        progress=_progress(task.progress),
        error=_error(task.error),
        creator=task.creator,
        create_time=to_timestamp(task.create_time),
        start_time=to_timestamp(task.start_time),
        end_time=to_timestamp(task.end_time),
    )
    if with_payloads:
        message.input.CopyFrom(Struct.FromString(task.input))
    if with_payloads and task.result is not None:
        message.result.CopyFrom(Value.FromString(task.result))
    return message


def event_to_proto(event: TaskEvent, task: Task) -> task_pb2.TaskEvent:
    """Encode a change of `task`, with the task as it was right after it."""
    after = replace(
        task,
        state=event.state,
        attempt=event.attempt,
        agent_id=event.agent_id,
        progress=event.progress,
        error=event.error,
        start_time=task.start_time if event.is_last else None,
        end_time=task.end_time if event.is_last else None,
    )
    message = task_to_proto(after, with_payloads=False)
    if event.type is EventType.SUCCEEDED and task.result is not None:
        message.result.CopyFrom(Value.FromString(task.result))
    return task_pb2.TaskEvent(
        sequence=event.sequence,
        type=_EVENT_TYPES[event.type],
        task=message,
        time=to_timestamp(event.time),
    )


def lease_from_proto(lease: dispatch_service_pb2.Lease) -> Lease:
    """Decode a lease."""
    return Lease(UUID(lease.task_id), lease.epoch)


def leases_from_proto(leases: Iterable[dispatch_service_pb2.Lease]) -> list[Lease]:
    """Decode leases."""
    return [lease_from_proto(lease) for lease in leases]


def outcome_from_proto(report: dispatch_service_pb2.Report) -> Outcome:
    """Decode what an agent reports."""
    match report.WhichOneof("report"):
        case "progress":
            return Progress(report.progress.fraction, report.progress.message)
        case "completion":
            return Completed(report.completion.result.SerializeToString())
        case "failure":
            error = report.failure.error
            return Failed(TaskError(error.type or "Error", error.message), report.failure.retryable)
        case _:
            return Released()


def message_to_proto(message: Message) -> dispatch_service_pb2.DispatchResponse:
    """Encode what a stream tells its agent."""
    response = dispatch_service_pb2.DispatchResponse()
    match message:
        case Assigned(tasks):
            response.assignments.assignments.extend(_assignment(task) for task in tasks)
        case Received(receipts):
            response.receipts.receipts.extend(_receipt(receipt) for receipt in receipts)
        case Lost(leases):
            response.cancellations.leases.extend(leases_to_proto(leases))
        case Draining():
            response.drain.SetInParent()
    return response


def leases_to_proto(leases: Sequence[Lease]) -> list[dispatch_service_pb2.Lease]:
    """Encode leases."""
    return [_lease(lease) for lease in leases]


def _lease(lease: Lease) -> dispatch_service_pb2.Lease:
    return dispatch_service_pb2.Lease(task_id=str(lease.task_id), epoch=lease.epoch)


def _assignment(task: Task) -> dispatch_service_pb2.Assignment:
    return dispatch_service_pb2.Assignment(lease=_lease(task.lease), task=task_to_proto(task))


def _receipt(receipt: Receipt) -> dispatch_service_pb2.Receipt:
    return dispatch_service_pb2.Receipt(
        lease=_lease(receipt.lease), accepted=receipt.accepted, reason=receipt.reason
    )


def _progress(progress: Progress | None) -> task_pb2.TaskProgress | None:
    if progress is None:
        return None
    return task_pb2.TaskProgress(fraction=progress.fraction, message=progress.message)


def _error(error: TaskError | None) -> task_pb2.TaskError | None:
    return None if error is None else task_pb2.TaskError(type=error.type, message=error.message)
