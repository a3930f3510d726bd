"""Tasks, as the client returns them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from agentmesh.ids import time_of
from agentmesh.payloads import Content, decode_content, from_struct, from_value
from agentmesh.resources.task_parts import (
    PauseRequest,
    PayloadInfo,
    Progress,
    TaskError,
    TaskPolicy,
    Usage,
)
from agentmesh.resources.times import time_in
from mesh.task.v1 import payload_pb2, task_pb2

_DONE: Final = frozenset(
    (
        task_pb2.TASK_STATE_SUCCEEDED,
        task_pb2.TASK_STATE_FAILED,
        task_pb2.TASK_STATE_CANCELLED,
        task_pb2.TASK_STATE_DEAD_LETTERED,
    )
)
_STATES: Final = {
    number: name.removeprefix("TASK_STATE_") for name, number in task_pb2.TaskState.items()
}


class Task:
    """A task, as it was when it was asked for; nothing of it changes.

    Decodes each part when it is looked at, so many can be listed at little cost.
    """

    __slots__ = ("_message", "_result")

    def __init__(self, message: task_pb2.Task, result: Content | None = None) -> None:
        self._message = message
        self._result = result

    @classmethod
    def from_proto(cls, message: task_pb2.Task) -> Self:
        """Decode a task."""
        return cls(message)

    @classmethod
    def accepted(cls, message: task_pb2.Task, task_id: str) -> Self:
        """Return the task that the mesh has made of what was sent."""
        message.id = task_id
        waits = message.HasField("schedule_time") or message.HasField("delay")
        waits = waits or message.HasField("dependencies")
        message.state = task_pb2.TASK_STATE_SCHEDULED if waits else task_pb2.TASK_STATE_QUEUED
        return cls(message)

    def with_result(self, content: Content) -> Self:
        """Return the task with the result that was fetched for it."""
        return type(self)(self._message, content)

    def to_proto(self) -> task_pb2.Task:
        """Return the message that the task was decoded from; it is not to be changed."""
        return self._message

    @property
    def id(self) -> str:
        """Its id."""
        return self._message.id

    @property
    def capability(self) -> str:
        """What an agent must be able to do."""
        return self._message.capability

    @property
    def state(self) -> str:
        """Where it is in its life.

        `SCHEDULED`, `QUEUED`, `RUNNING`, `PAUSED`, or one of the ends `SUCCEEDED`,
        `FAILED`, `CANCELLED` and `DEAD_LETTERED`.
        """
        return _STATES.get(self._message.state, str(self._message.state))

    @property
    def is_done(self) -> bool:
        """Whether the state is a terminal one."""
        return self._message.state in _DONE

    @property
    def input(self) -> Any:
        """What the agent gets.

        None if it is large and kept elsewhere: see `input_payload` and `Client.fetch_input`.
        """
        payload = self._message.input_payload
        if payload.blob_id:
            return None
        if self._message.HasField("input_payload"):
            return decode_content(Content(payload.data, payload.content_type))
        return from_struct(self._message.input)

    @property
    def input_payload(self) -> PayloadInfo | None:
        """What is known of an input that isn't a JSON object, or is large."""
        return _payload_info(self._message, "input_payload")

    @property
    def result(self) -> Any:
        """What the agent returned, once succeeded.

        None too if it is large and not fetched yet, as in lists and events: see
        `result_payload` and `Client.fetch_result`.
        """
        if self._result is not None:
            return decode_content(self._result)
        payload = self._message.result_payload
        if payload.blob_id:
            return None
        if self._message.HasField("result_payload"):
            return decode_content(Content(payload.data, payload.content_type))
        return from_value(self._message.result)

    @property
    def result_payload(self) -> PayloadInfo | None:
        """What is known of a result that isn't JSON, or is large."""
        return _payload_info(self._message, "result_payload")

    @property
    def error(self) -> TaskError | None:
        """Why the last attempt failed."""
        if not self._message.HasField("error"):
            return None
        return TaskError(self._message.error.type, self._message.error.message)

    @property
    def progress(self) -> Progress | None:
        """How far the running or last attempt has come."""
        if not self._message.HasField("progress"):
            return None
        return Progress(self._message.progress.fraction, self._message.progress.message)

    @property
    def attempt(self) -> int:
        """Attempts started so far."""
        return self._message.attempt

    @property
    def max_attempts(self) -> int:
        """Most attempts; 0 where the mesh's default was left to hold."""
        return self._message.max_attempts

    @property
    def agent_id(self) -> str:
        """Agent of the running or last attempt."""
        return self._message.agent_id

    @property
    def agent_name(self) -> str:
        """Name of the agent of the running or last attempt."""
        return self._message.agent_name

    @property
    def priority(self) -> int:
        """0 (last) to 9 (first)."""
        return self._message.priority

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels to find it by."""
        return dict(self._message.labels)

    @property
    def attributes(self) -> Mapping[str, str | float | bool]:
        """Typed values to find it by."""
        return from_struct(self._message.attributes)

    @property
    def policy(self) -> TaskPolicy:
        """What was asked of it beyond its work."""
        return TaskPolicy.from_proto(self._message)

    @property
    def creator(self) -> str:
        """Subject that created it."""
        return self._message.creator

    @property
    def parent_id(self) -> str:
        """Task that it is part of; empty for none."""
        return self._message.parent_id

    @property
    def root_id(self) -> str:
        """Topmost of its parents; its own id if it has none."""
        return self._message.root_id

    @property
    def depth(self) -> int:
        """Number of its parents."""
        return self._message.depth

    @property
    def replay_of(self) -> str:
        """Task that it runs again; empty for none."""
        return self._message.replay_of

    @property
    def usage(self) -> Usage:
        """What it has used itself, over all attempts."""
        return Usage(self._message.usage.tokens, self._message.usage.cost)

    @property
    def wait_reason(self) -> str:
        """What it waits for: `AGENT`, `TIME`, `DEPENDENCIES`, `LIMIT`, `ANSWER`, or nothing."""
        name = task_pb2.WaitReason.Name(self._message.wait_reason)
        return "" if not self._message.wait_reason else name.removeprefix("WAIT_REASON_")

    @property
    def pause(self) -> PauseRequest | None:
        """What is asked, while it is paused."""
        if not self._message.HasField("pause"):
            return None
        pause = self._message.pause
        kind = task_pb2.TaskPause.Kind.Name(pause.kind).removeprefix("KIND_")
        return PauseRequest(kind, pause.prompt, from_value(pause.details))

    @property
    def etag(self) -> str:
        """Version of the task, for `Client.update_task`."""
        return self._message.etag

    @property
    def create_time(self) -> datetime:
        """When it was accepted."""
        if not self._message.HasField("create_time"):
            return time_of(self._message.id)
        return self._message.create_time.ToDatetime(UTC)

    @property
    def start_time(self) -> datetime | None:
        """When the running or last attempt started."""
        return time_in(self._message, "start_time")

    @property
    def end_time(self) -> datetime | None:
        """When it reached its terminal state."""
        return time_in(self._message, "end_time")

    @property
    def schedule_time(self) -> datetime | None:
        """Before this time it isn't handed out."""
        return time_in(self._message, "schedule_time")

    @property
    def expire_time(self) -> datetime | None:
        """After this time it is of no use to anybody."""
        return time_in(self._message, "expire_time")

    @property
    def cancel_request_time(self) -> datetime | None:
        """When its cancellation was asked for, while its agent has time to stop in order."""
        return time_in(self._message, "cancel_request_time")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self._message == other._message

    def __hash__(self) -> int:
        return hash(self._message.id)

    def __repr__(self) -> str:
        return f"Task(id={self.id!r}, capability={self.capability!r}, state={self.state!r})"


def _payload_info(message: task_pb2.Task, name: str) -> PayloadInfo | None:
    if not message.HasField(name):  # type: ignore[arg-type] # one of two fields
        return None
    payload: payload_pb2.Payload = getattr(message, name)
    return PayloadInfo(payload.content_type, payload.blob_id)
