"""Between rows of the task database and the domain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from services.task.domain.policy import policy_from_text, policy_to_text
from services.task.domain.states import EventType, TaskState
from services.task.domain.task import Progress, Scalar, Task, TaskError, TaskEvent

COMMON: Final = (
    "id", "tenant", "capability", "state", "priority", "attempt", "max_attempts", "epoch",
    "creator", "create_time", "ready_time", "last_sequence", "policy", "parent_id", "root_id",
    "depth", "replay_of", "agent_id", "agent_name", "progress_fraction", "progress_message",
    "error_type", "error_message", "tokens", "cost", "start_time",
)  # fmt: skip
"""What live and finished tasks have in common, but for the data that a caller gave."""

GIVEN: Final = ("input", "input_payload", "labels", "attributes")
"""The data that a caller gave, which changes of a task leave alone."""

LIVE: Final = (
    "lane", "blocked_by", "awaits", "has_dependents", "has_children", "checkpoint", "answer",
    "pause", "seen_time", "lease_time", "cancel_request_time", "cancel_by", "due_time",
)  # fmt: skip
"""What only live tasks have."""

ENDED: Final = ("result", "result_payload", "end_time")
"""What only finished tasks have."""

EVENT: Final = (
    "task_id", "tenant", "root_id", "sequence", "type", "time", "state", "attempt", "epoch",
    "agent_id", "agent_name", "progress_fraction", "progress_message", "error_type",
    "error_message", "content_type", "data",
)  # fmt: skip
"""The columns of an event but its place in the log."""


def live_task_of(row: Any) -> Task:
    """Read a live task from a row with COMMON and LIVE, and perhaps GIVEN, by name."""
    task = _task_of(row)
    (
        task.lane, task.blocked_by, task.awaits, task.has_dependents, task.has_children,
        task.checkpoint, task.answer, task.pause, task.seen_time, task.lease_time,
        task.cancel_request_time, task.cancel_by, task.due_time,
    ) = _live(row)  # fmt: skip
    return task


def finished_task_of(row: Any) -> Task:
    """Read a finished task from a row with COMMON and ENDED, and perhaps GIVEN, by name."""
    task = _task_of(row)
    task.result = row["result"]
    task.result_payload = row["result_payload"]
    task.end_time = row["end_time"]
    return task


def add_given(task: Task, row: Any) -> Task:
    """Add what the caller gave, from a row with GIVEN."""
    task.input = row["input"]
    task.input_payload = row["input_payload"]
    task.labels = json_value(row["labels"])
    task.attributes = json_value(row["attributes"])
    return task


def listed_task_of(row: Any) -> Task:
    """Read a task, ended or not, from a row with COMMON, LIVE, ENDED, labels and attributes."""
    task = live_task_of(row) if row["end_time"] is None else finished_task_of(row)
    task.labels = json_value(row["labels"])
    task.attributes = json_value(row["attributes"])
    return task


def event_of(row: Any) -> TaskEvent:
    """Read an event from a row with EVENT and `position`."""
    return TaskEvent(
        task_id=row["task_id"],
        tenant=row["tenant"],
        root_id=row["root_id"],
        sequence=row["sequence"],
        type=EventType(row["type"]),
        time=row["time"],
        state=TaskState(row["state"]),
        attempt=row["attempt"],
        epoch=row["epoch"],
        agent_id=row["agent_id"],
        agent_name=row["agent_name"],
        progress=_progress(row),
        error=_error(row),
        content_type=row["content_type"],
        data=row["data"],
        position=row["position"],
    )


def event_of_values(values: Sequence[Any]) -> TaskEvent:
    """Read an event from what `event_row` returned."""
    return event_of({**dict(zip(EVENT, values, strict=True)), "position": 0})


def new_row(task: Task) -> tuple[Any, ...]:
    """Return the values of COMMON, GIVEN and LIVE of a new task.

    Written out, for this is done for each task: looking the columns up one by one took five
    times as long.
    """
    return (
        task.id, task.tenant, task.capability, task.state, task.priority, task.attempt,
        task.max_attempts, task.epoch, task.creator, task.create_time, task.ready_time,
        task.last_sequence, policy_to_text(task.policy), task.parent_id, task.root_id,
        task.depth, task.replay_of, task.agent_id, task.agent_name, None, None, None, None,
        task.tokens, task.cost, task.start_time,
        task.input, task.input_payload, json_text(task.labels), json_text(task.attributes),
        task.lane, task.blocked_by, task.awaits, task.has_dependents, task.has_children,
        task.checkpoint, task.answer, task.pause, task.seen_time, task.lease_time,
        task.cancel_request_time, task.cancel_by, task.due_time,
    )  # fmt: skip


def event_row(
    task: Task, type_: EventType, time: datetime, content_type: str | None, data: bytes | None
) -> tuple[Any, ...]:
    """Return the values of EVENT for what has just happened to a task."""
    progress, error = task.progress, task.error
    return (
        task.id, task.tenant, task.root_id, task.last_sequence, type_, time, task.state,
        task.attempt, task.epoch, task.agent_id, task.agent_name,
        None if progress is None else progress.fraction,
        None if progress is None else progress.message,
        None if error is None else error.type,
        None if error is None else error.message,
        content_type, data,
    )  # fmt: skip


def json_text(value: Mapping[str, Scalar] | Mapping[str, str] | None) -> str | None:
    """Write labels or attributes."""
    if value is None:
        return None
    return json.dumps(value) if value else "{}"


# All values of a row at once: one by one they take twice as long, and this is done for each task.
_common: Final = itemgetter(*COMMON)
_live: Final = itemgetter(*LIVE)


def _task_of(row: Any) -> Task:
    (
        id_, tenant, capability, state, priority, attempt, max_attempts, epoch, creator,
        create_time, ready_time, last_sequence, policy, parent_id, root_id, depth, replay_of,
        agent_id, agent_name, fraction, message, error_type, error_message, tokens, cost,
        start_time,
    ) = _common(row)  # fmt: skip
    return Task(
        id_,
        tenant,
        capability,
        _STATES[state],
        priority,
        0,
        attempt,
        max_attempts,
        epoch,
        creator,
        create_time,
        ready_time,
        last_sequence,
        policy=policy_from_text(policy),
        parent_id=parent_id,
        root_id=root_id,
        depth=depth,
        replay_of=replay_of,
        agent_id=agent_id,
        agent_name=agent_name,
        progress=None if fraction is None else Progress(fraction, message or ""),
        error=None if error_type is None else TaskError(error_type, error_message or ""),
        tokens=tokens,
        cost=cost,
        start_time=start_time,
    )


# Looking a member up by its value takes longer in the enumeration itself.
_STATES: Final = {state.value: state for state in TaskState}


def _progress(row: Any) -> Progress | None:
    fraction = row["progress_fraction"]
    return None if fraction is None else Progress(fraction, row["progress_message"] or "")


def _error(row: Any) -> TaskError | None:
    type_ = row["error_type"]
    return None if type_ is None else TaskError(type_, row["error_message"] or "")


def json_value(value: Any) -> Any:
    """Read labels or attributes."""
    # A raw connection gives JSON as text, SQLAlchemy as values.
    if isinstance(value, str):
        return {} if value == "{}" else json.loads(value)
    return value
