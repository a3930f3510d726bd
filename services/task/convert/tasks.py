"""Tasks, their events and attempts, from and to messages."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value

from mesh.task.v1 import payload_pb2, task_pb2
from meshkit.errors import InvalidArgument
from meshkit.timestamps import from_timestamp, set_time, to_timestamp
from services.task.convert.policies import add_policy, policy_from_proto
from services.task.convert.values import MOST_INLINE, check_json
from services.task.domain.states import EventType, TaskState, WaitReason
from services.task.domain.task import NewTask, Progress, Scalar, Task, TaskError, TaskEvent
from services.task.engine.operations.steer import etag_of

STATES: Final = {state: task_pb2.TaskState.Value(f"TASK_STATE_{state.name}") for state in TaskState}
_EVENT_TYPES: Final = {
    type_: task_pb2.TaskEvent.Type.Value(f"TYPE_{type_.name}") for type_ in EventType
}
_WAIT_REASONS: Final = {
    reason: task_pb2.WaitReason.Value(f"WAIT_REASON_{reason.name}") for reason in WaitReason
}
_EMPTY_STRUCT: Final = b""

_OUTPUT_ONLY: Final = (
    "id", "state", "attempt", "agent_id", "agent_name", "progress", "result", "result_payload",
    "error", "creator", "create_time", "start_time", "end_time", "root_id", "depth", "usage",
    "wait_reason", "pause", "replay_of", "cancel_request_time", "etag",
)  # fmt: skip


def new_task_from_proto(task: task_pb2.Task, request_id: str, *, default_attempts: int) -> NewTask:
    """Decode what a caller wants done; output-only fields are passed over.

    Raises:
        InvalidArgument: A part of it makes no sense.
    """
    if not task.capability:
        raise InvalidArgument(
            "Name the capability that an agent needs for the task.", field="task.capability"
        )
    if task.HasField("schedule_time") and task.HasField("delay"):
        raise InvalidArgument("Give a schedule_time or a delay, not both.", field="task.delay")
    input_ = _EMPTY_STRUCT
    if task.HasField("input"):
        input_ = task.input.SerializeToString(deterministic=True)
        if len(input_) > MOST_INLINE:
            raise InvalidArgument(
                f"The input has {len(input_)} bytes; at most {MOST_INLINE} go along with a task."
                " Upload what is larger as a blob, and name that in input_payload.",
                field="task.input",
            )
        check_json("task.input", task.input, input_)
    return NewTask(
        capability=task.capability,
        input=input_,
        input_payload=task.input_payload.SerializeToString()
        if task.HasField("input_payload")
        else None,
        input_blob=blob_of(task.input_payload),
        max_attempts=task.max_attempts or default_attempts,
        priority=task.priority,
        labels=dict(task.labels) if task.labels else {},
        attributes=attributes_from_proto(task.attributes) if task.HasField("attributes") else {},
        policy=policy_from_proto(task),
        parent_id=UUID(task.parent_id) if task.parent_id else None,
        schedule_time=from_timestamp(task, "schedule_time", path="task.schedule_time"),
        delay=task.delay.ToNanoseconds() / 1e9 if task.HasField("delay") else 0.0,
        request_id=request_id,
        digest=_digest(task) if request_id else b"",
    )


def blob_of(payload: payload_pb2.Payload) -> UUID | None:
    """Return the blob that a payload names, if it names one."""
    return UUID(payload.blob_id) if payload.blob_id else None


def attributes_from_proto(attributes: Struct) -> dict[str, Scalar]:
    """Decode attributes.

    Raises:
        InvalidArgument: One is no string, number or boolean, or holds NUL.
    """
    decoded: dict[str, Scalar] = {}
    for name, value in attributes.fields.items():
        if "\0" in name or "\0" in value.string_value:
            raise InvalidArgument(
                f"The attribute {name!r} holds the NUL character, U+0000; leave it out.",
                field=f"task.attributes.{name}",
            )
        match value.WhichOneof("kind"):
            case "string_value":
                decoded[name] = value.string_value
            case "bool_value":
                decoded[name] = value.bool_value
            case "number_value" if math.isfinite(value.number_value):
                decoded[name] = value.number_value
            case _:
                raise InvalidArgument(
                    f"The attribute {name!r} is no string, finite number or boolean.",
                    field=f"task.attributes.{name}",
                )
    return decoded


def task_to_proto(task: Task, *, with_payloads: bool = True) -> task_pb2.Task:
    """Encode a task, with its input and result unless many are to fit into a message."""
    message = task_pb2.Task(
        id=str(task.id),
        capability=task.capability,
        priority=task.priority,
        max_attempts=task.max_attempts,
        state=STATES[task.state],
        attempt=task.attempt,
        creator=task.creator,
        create_time=to_timestamp(task.create_time),
        root_id=str(task.root),
        depth=task.depth,
        etag=etag_of(task),
    )
    if task.agent_id is not None:
        message.agent_id, message.agent_name = str(task.agent_id), task.agent_name
    if task.labels:
        message.labels.update(task.labels)
    if task.attributes:
        message.attributes.update(task.attributes)
    if task.parent_id is not None:
        message.parent_id = str(task.parent_id)
    if task.replay_of is not None:
        message.replay_of = str(task.replay_of)
    if task.tokens or task.cost:
        message.usage.tokens, message.usage.cost = task.tokens, task.cost
    add_policy(message, task.policy)
    add_progress(message, task.progress)
    add_error(message, task.error)
    _add_times(message, task)
    if with_payloads:
        _add_payloads(message, task)
    return message


def event_to_proto(  # noqa: C901 - a part, a branch
    event: TaskEvent, task: Task, *, offset: str = ""
) -> task_pb2.TaskEvent:
    """Encode a change of `task`, with the task as it was right after it."""
    after = task_pb2.Task(
        id=str(task.id),
        capability=task.capability,
        priority=task.priority,
        max_attempts=task.max_attempts,
        state=STATES[event.state],
        attempt=event.attempt,
        creator=task.creator,
        create_time=to_timestamp(task.create_time),
        root_id=str(task.root),
        depth=task.depth,
        etag=f"{event.sequence:x}",
    )
    if event.agent_id is not None:
        after.agent_id, after.agent_name = str(event.agent_id), event.agent_name
    if task.labels:
        after.labels.update(task.labels)
    if task.attributes:
        after.attributes.update(task.attributes)
    if task.parent_id is not None:
        after.parent_id = str(task.parent_id)
    add_progress(after, event.progress)
    add_error(after, event.error)
    if event.is_last:
        _add_times(after, task)
    if event.type is EventType.SUCCEEDED and task.result is not None:
        after.result.ParseFromString(task.result)
    if event.type is EventType.SUCCEEDED and task.result_payload is not None:
        after.result_payload.ParseFromString(task.result_payload)
    if event.type is EventType.PAUSED and event.data is not None:
        after.pause.ParseFromString(event.data)
    message = task_pb2.TaskEvent(
        sequence=event.sequence,
        type=_EVENT_TYPES[event.type],
        task=after,
        time=to_timestamp(event.time),
        epoch=event.epoch,
        offset=offset,
    )
    if event.type is EventType.OUTPUT:
        message.output.content_type = event.content_type or ""
        message.output.data = event.data or b""
    return message


def add_progress(message: Any, progress: Progress | None) -> None:
    """Encode progress, if there is some."""
    if progress is not None:
        message.progress.fraction = progress.fraction
        message.progress.message = progress.message
        message.progress.SetInParent()


def add_error(message: Any, error: TaskError | None) -> None:
    """Encode an error, if there is one."""
    if error is not None:
        message.error.type, message.error.message = error.type, error.message


def _add_times(message: task_pb2.Task, task: Task) -> None:
    if task.start_time is not None:
        set_time(message.start_time, task.start_time)
    if task.end_time is not None:
        set_time(message.end_time, task.end_time)
        return
    if task.state is TaskState.SCHEDULED:
        set_time(message.schedule_time, task.ready_time)
    reason = task.wait_reason
    if reason is not None:
        message.wait_reason = _WAIT_REASONS[reason]
    if task.cancel_request_time is not None:
        set_time(message.cancel_request_time, task.cancel_request_time)
    if task.pause is not None:
        message.pause.ParseFromString(task.pause)


def _add_payloads(message: task_pb2.Task, task: Task) -> None:
    message.input.ParseFromString(task.input)
    if task.input_payload is not None:
        message.input_payload.CopyFrom(payload_pb2.Payload.FromString(task.input_payload))
    if task.result is not None:
        message.result.CopyFrom(Value.FromString(task.result))
    if task.result_payload is not None:
        message.result_payload.CopyFrom(payload_pb2.Payload.FromString(task.result_payload))


def _digest(task: task_pb2.Task) -> bytes:
    wanted = task_pb2.Task()
    wanted.CopyFrom(task)
    for name in _OUTPUT_ONLY:
        wanted.ClearField(name)
    return hashlib.sha256(wanted.SerializeToString(deterministic=True)).digest()
