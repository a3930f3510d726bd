"""Tasks to be created: what a caller says of them, and the message it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

from agentmesh.ids import new_id
from agentmesh.payloads import Large, encode_input
from agentmesh.policies import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    Duration,
    Fairness,
    Placement,
    RateLimit,
    RetryPolicy,
)
from agentmesh.policy_messages import fill, set_duration, set_time
from agentmesh.resources import Task
from mesh.task.v1 import task_pb2, task_policy_pb2, task_service_pb2


class TaskOptions(TypedDict, total=False):
    """What can be said of a task beyond its capability and input; all of it may be left out.

    Attributes:
        priority: 0 (last) to 9 (first).
        labels: Texts to find it by.
        attributes: Texts, numbers and booleans to find it by.
        max_attempts: Most attempts before it is dead-lettered; by default 3.
        schedule: Not handed out before: a time with its zone, or a delay from now, as a
            timedelta or in seconds.
        expire_time: After this time it is of no use: unless it runs, it fails.
        retry: When to try again.
        deadlines: How long things may take.
        placement: Which agents may work on it.
        fairness: Whose share of the agents it takes: a key, or a key and its weight.
        concurrency: How many of its kind may be under way.
        rate_limits: How many of its kind may start in a time.
        parent: Task that it is part of, and is cancelled with.
        dependencies: Tasks that it waits for; without more, for their success.
        needs_any: Whether one of the dependencies is enough.
        budget: What it and all under it may use; for a task without a parent.
        request_id: Makes repeats of the call harmless: the same id with the same task
            returns the task that there is. One is made if none is given.
    """

    priority: int
    labels: Mapping[str, str]
    attributes: Mapping[str, str | float | bool]
    max_attempts: int
    schedule: datetime | Duration
    expire_time: datetime
    retry: RetryPolicy
    deadlines: Deadlines
    placement: Placement
    fairness: Fairness | str | tuple[str, float]
    concurrency: Sequence[ConcurrencyLimit]
    rate_limits: Sequence[RateLimit]
    parent: Task | str
    dependencies: Sequence[Task | str | Dependency]
    needs_any: bool
    budget: Budget
    request_id: str


class NewTask:
    """A task to be created, for `Client.create_tasks`; takes what `Client.create_task` takes."""

    __slots__ = ("capability", "input", "options")

    def __init__(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        **options: Unpack[TaskOptions],
    ) -> None:
        self.capability = capability
        self.input = input
        self.options = options

    def __repr__(self) -> str:
        return f"NewTask({self.capability!r}, {self.input!r}, **{self.options!r})"


def creation_of(
    capability: str,
    input: Any,  # noqa: A002 - the contract's word
    options: TaskOptions,
) -> tuple[task_service_pb2.CreateTaskRequest, Large | None]:
    """Encode a creation; return with it the input that has to be uploaded first, if any.

    Raises:
        TypeError: There is no such option.
        ValueError: A value makes no sense.
    """
    request = task_service_pb2.CreateTaskRequest()
    task = request.task
    task.capability = capability
    large = encode_input(task, {} if input is None else input)
    for name, value in options.items():
        if name != "request_id" and value is not None:
            _setter(name)(task, value)
    request.request_id = options.get("request_id") or new_id()
    return request, large


def id_of(task: Task | str) -> str:
    """Return the id of a task that may be given by its id."""
    return task if isinstance(task, str) else task.id


def _setter(name: str) -> Callable[[task_pb2.Task, Any], None]:
    try:
        return _SETTERS[name]
    except KeyError:
        known = ", ".join(TaskOptions.__annotations__)
        raise TypeError(f"a task has no option {name!r}; there are {known}") from None


def _priority(task: task_pb2.Task, value: int) -> None:
    task.priority = value


def _max_attempts(task: task_pb2.Task, value: int) -> None:
    task.max_attempts = value


def _labels(task: task_pb2.Task, value: Mapping[str, str]) -> None:
    task.labels.update(value)


def _attributes(task: task_pb2.Task, value: Mapping[str, str | float | bool]) -> None:
    task.attributes.update(dict(value))


def _schedule(task: task_pb2.Task, value: datetime | Duration) -> None:
    if isinstance(value, datetime):
        set_time(task.schedule_time, value)
    else:
        set_duration(task.delay, value)


def _expire_time(task: task_pb2.Task, value: datetime) -> None:
    set_time(task.expire_time, value)


def _fairness(task: task_pb2.Task, value: Fairness | str | tuple[str, float]) -> None:
    if isinstance(value, str):
        value = Fairness(value)
    fill(task.fairness, value if isinstance(value, Fairness) else Fairness(*value))


def _concurrency(task: task_pb2.Task, value: Sequence[ConcurrencyLimit]) -> None:
    for each in value:
        fill(task.concurrency_limits.add(), each)


def _rate_limits(task: task_pb2.Task, value: Sequence[RateLimit]) -> None:
    for each in value:
        fill(task.rate_limits.add(), each)


def _parent(task: task_pb2.Task, value: Task | str) -> None:
    task.parent_id = id_of(value)


def _dependencies(task: task_pb2.Task, value: Sequence[Task | str | Dependency]) -> None:
    for each in value:
        dependency = each if isinstance(each, Dependency) else Dependency(id_of(each))
        fill(task.dependencies.tasks.add(), dependency)


def _needs_any(task: task_pb2.Task, value: bool) -> None:
    if value:
        task.dependencies.mode = task_policy_pb2.Dependencies.MODE_ANY


_SETTERS: Final[dict[str, Callable[[task_pb2.Task, Any], None]]] = {
    "priority": _priority,
    "labels": _labels,
    "attributes": _attributes,
    "max_attempts": _max_attempts,
    "schedule": _schedule,
    "expire_time": _expire_time,
    "retry": lambda task, value: fill(task.retry_policy, value),
    "deadlines": lambda task, value: fill(task.deadlines, value),
    "placement": lambda task, value: fill(task.placement, value),
    "fairness": _fairness,
    "concurrency": _concurrency,
    "rate_limits": _rate_limits,
    "parent": _parent,
    "dependencies": _dependencies,
    "needs_any": _needs_any,
    "budget": lambda task, value: fill(task.budget, value),
}
