"""What goes over dispatch streams, from and to messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_policy_pb2
from meshkit.ids import read_uuid
from services.task.convert.tasks import blob_of, task_to_proto
from services.task.dispatch.streams import (
    Assigned,
    Draining,
    Lost,
    Message,
    Pulse,
    Received,
    StopAsked,
)
from services.task.domain.reports import (
    Alive,
    Completed,
    Failed,
    Outcome,
    Output,
    Paused,
    Receipt,
    Released,
    Stopped,
)
from services.task.domain.task import NOTHING, Lease, Progress, Task, TaskError, Usage


def lease_from_proto(lease: dispatch.Lease) -> Lease:
    """Decode a lease."""
    return Lease(read_uuid(lease.task_id), lease.epoch)


def leases_from_proto(leases: Iterable[dispatch.Lease]) -> list[Lease]:
    """Decode leases."""
    return [lease_from_proto(lease) for lease in leases]


def outcome_from_proto(report: dispatch.Report) -> Outcome:  # noqa: PLR0911 - a kind, a return
    """Decode what an agent reports of one task."""
    match report.WhichOneof("report"):
        case "completion":
            done = report.completion
            payload = done.payload.SerializeToString() if done.HasField("payload") else None
            blob = blob_of(done.payload)
            return Completed(done.result.SerializeToString(), payload, blob, _usage(done))
        case "progress":
            return Progress(report.progress.fraction, report.progress.message)
        case "failure":
            return _failed(report.failure)
        case "output":
            return Output(report.output.content_type, report.output.data)
        case "heartbeat":
            alive = report.heartbeat
            given = alive.HasField("checkpoint")
            return Alive(alive.checkpoint.SerializeToString() if given else None, _usage(alive))
        case "pause":
            return Paused(report.pause.SerializeToString())
        case "stopped":
            return Stopped()
        case _:
            return Released()


def message_to_proto(message: Message) -> dispatch.DispatchResponse:
    """Encode what a stream tells its agent."""
    response = dispatch.DispatchResponse()
    match message:
        case Assigned(tasks, results, receipts):
            response.assignments.assignments.extend(
                assignment_to_proto(task, results.get(task.id, {})) for task in tasks
            )
            response.assignments.receipts.extend(receipts_to_proto(receipts))
        case Received(receipts):
            response.receipts.receipts.extend(receipts_to_proto(receipts))
        case Lost(leases):
            response.cancellations.leases.extend(leases_to_proto(leases))
        case StopAsked(leases, grace):
            response.cancel_requests.leases.extend(leases_to_proto(leases))
            response.cancel_requests.grace.CopyFrom(duration_to_proto(grace))
        case Pulse():
            response.pulse.SetInParent()
        case Draining(cause):
            response.drain.cause = dispatch.Drain.Cause.ValueType(int(cause))
            response.drain.SetInParent()
    return response


def assignment_to_proto(task: Task, results: Mapping[UUID, bytes]) -> dispatch.Assignment:
    """Encode a task for its agent, with the results of those it depends on."""
    assignment = dispatch.Assignment(lease=lease_to_proto(task.lease), task=task_to_proto(task))
    if task.checkpoint is not None:
        assignment.checkpoint.ParseFromString(task.checkpoint)
    if task.answer is not None:
        assignment.answer.ParseFromString(task.answer)
    for task_id, result in results.items():
        assignment.dependency_results[str(task_id)].CopyFrom(Value.FromString(result))
    return assignment


def leases_to_proto(leases: Iterable[Lease]) -> list[dispatch.Lease]:
    """Encode leases."""
    return [lease_to_proto(lease) for lease in leases]


def lease_to_proto(lease: Lease) -> dispatch.Lease:
    """Encode a lease."""
    return dispatch.Lease(task_id=str(lease.task_id), epoch=lease.epoch)


def receipts_to_proto(receipts: Sequence[Receipt]) -> list[dispatch.Receipt]:
    """Encode receipts."""
    return [
        dispatch.Receipt(
            lease=lease_to_proto(receipt.lease),
            accepted=receipt.accepted,
            reason=receipt.reason,
            message=receipt.message,
        )
        for receipt in receipts
    ]


def duration_to_proto(seconds: float) -> Duration:
    """Encode a duration."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _failed(failure: dispatch.Failure) -> Failed:
    given = failure.HasField("retry_after")
    return Failed(
        TaskError(failure.error.type or "Error", failure.error.message),
        failure.retryable,
        retry_after=failure.retry_after.ToNanoseconds() / 1e9 if given else None,
        pause_key=failure.pause_key,
        usage=_usage(failure),
    )


def _usage(message: dispatch.Completion | dispatch.Failure | dispatch.TaskHeartbeat) -> Usage:
    if not message.HasField("usage"):
        return NOTHING
    usage: task_policy_pb2.Usage = message.usage
    return Usage(usage.tokens, usage.cost)
