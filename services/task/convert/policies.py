"""Policies of tasks, from and to messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from mesh.task.v1 import task_pb2, task_policy_pb2
from meshkit.errors import InvalidArgument
from meshkit.timestamps import from_timestamp, set_time
from services.task.dispatch.fitting import is_range
from services.task.domain.policy import (
    PATIENCE,
    PLAIN,
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    DependencyCondition,
    LimitStrategy,
    Placement,
    Policy,
    RateLimit,
    Retry,
)

_STRATEGIES: Final = {
    task_policy_pb2.ConcurrencyLimit.STRATEGY_UNSPECIFIED: LimitStrategy.QUEUE,
    task_policy_pb2.ConcurrencyLimit.STRATEGY_QUEUE: LimitStrategy.QUEUE,
    task_policy_pb2.ConcurrencyLimit.STRATEGY_REJECT_NEWEST: LimitStrategy.REJECT_NEWEST,
    task_policy_pb2.ConcurrencyLimit.STRATEGY_CANCEL_OLDEST: LimitStrategy.CANCEL_OLDEST,
    task_policy_pb2.ConcurrencyLimit.STRATEGY_ROUND_ROBIN: LimitStrategy.ROUND_ROBIN,
}
_CONDITIONS: Final = {
    task_policy_pb2.Dependency.CONDITION_UNSPECIFIED: DependencyCondition.SUCCEEDED,
    task_policy_pb2.Dependency.CONDITION_SUCCEEDED: DependencyCondition.SUCCEEDED,
    task_policy_pb2.Dependency.CONDITION_FAILED: DependencyCondition.FAILED,
    task_policy_pb2.Dependency.CONDITION_ENDED: DependencyCondition.ENDED,
}
Key = TypeVar("Key")
Value = TypeVar("Value")


def _inverse(mapping: Mapping[Key, Value]) -> dict[Value, Key]:
    return {value: key for key, value in mapping.items()}


_STRATEGIES_BACK: Final = _inverse(_STRATEGIES)
_CONDITIONS_BACK: Final = _inverse(_CONDITIONS)

_POLICY_FIELDS: Final = (
    "retry_policy", "deadlines", "placement", "fairness", "dependencies", "budget", "expire_time",
)  # fmt: skip


def policy_from_proto(task: task_pb2.Task) -> Policy:
    """Decode what a caller asks of the engine; the plain policy if that is nothing.

    Raises:
        InvalidArgument: A part of it makes no sense.
    """
    asks = any(task.HasField(name) for name in _POLICY_FIELDS)
    if not (asks or task.concurrency_limits or task.rate_limits):
        return PLAIN
    _check(task)
    placement = task.placement
    return Policy(
        retry=_retry(task.retry_policy),
        deadlines=_deadlines(task.deadlines),
        placement=_placement(placement),
        fairness_key=task.fairness.key,
        fairness_weight=task.fairness.weight or 1.0,
        concurrency_limits=tuple(
            ConcurrencyLimit(each.key, each.limit, _STRATEGIES[each.strategy])
            for each in task.concurrency_limits
        ),
        rate_limits=tuple(
            RateLimit(each.key, each.limit, _seconds(each, "period") or 1.0, each.units or 1)
            for each in task.rate_limits
        ),
        budget=_budget(task),
        dependencies=tuple(
            Dependency(UUID(each.task_id), _CONDITIONS[each.condition])
            for each in task.dependencies.tasks
        ),
        needs_any=task.dependencies.mode == task_policy_pb2.Dependencies.MODE_ANY,
        expire_time=from_timestamp(task, "expire_time", path="task.expire_time"),
        sticky_task_id=placement.sticky_task_id,
    )


def add_policy(message: task_pb2.Task, policy: Policy) -> None:  # noqa: C901 - a part, a branch
    """Encode a policy into a task's message."""
    if policy is PLAIN:
        return
    if policy.retry != PLAIN.retry:
        message.retry_policy.CopyFrom(_retry_to_proto(policy.retry))
    if policy.deadlines != PLAIN.deadlines:
        for name in ("queue", "attempt", "heartbeat", "total"):
            _set(message.deadlines, name, getattr(policy.deadlines, name))
    if policy.placement != PLAIN.placement or policy.sticky_task_id:
        message.placement.CopyFrom(_placement_to_proto(policy))
    if policy.fairness_key:
        message.fairness.key = policy.fairness_key
        message.fairness.weight = policy.fairness_weight
    for limit in policy.concurrency_limits:
        message.concurrency_limits.add(
            key=limit.key, limit=limit.limit, strategy=_STRATEGIES_BACK[limit.strategy]
        )
    for rate in policy.rate_limits:
        added = message.rate_limits.add(key=rate.key, limit=rate.limit, units=rate.units)
        _set(added, "period", rate.period)
    if policy.budget is not None:
        budget = policy.budget
        message.budget.max_depth, message.budget.max_tasks = budget.max_depth, budget.max_tasks
        message.budget.max_tokens, message.budget.max_cost = budget.max_tokens, budget.max_cost
        message.budget.SetInParent()
    for dependency in policy.dependencies:
        message.dependencies.tasks.add(
            task_id=str(dependency.task_id), condition=_CONDITIONS_BACK[dependency.condition]
        )
    if policy.needs_any:
        message.dependencies.mode = task_policy_pb2.Dependencies.MODE_ANY
    if policy.expire_time is not None:
        set_time(message.expire_time, policy.expire_time)


def _check(task: task_pb2.Task) -> None:
    if task.placement.version and not is_range(task.placement.version):
        raise InvalidArgument(
            f"{task.placement.version!r} is no range of versions; write for example `>=1.2,<2`.",
            field="task.placement.version",
        )
    if task.HasField("budget") and task.parent_id:
        raise InvalidArgument(
            "A budget is set on a task without a parent, for all under it.", field="task.budget"
        )
    for index, rate in enumerate(task.rate_limits):
        if rate.units > rate.limit:
            raise InvalidArgument(
                f"The task takes {rate.units} units, more than the limit of {rate.limit}:"
                " it could never start.",
                field=f"task.rate_limits[{index}].units",
            )
    ids = [each.task_id for each in task.dependencies.tasks]
    if len(set(ids)) != len(ids):
        raise InvalidArgument(
            "A task is named twice among the dependencies.", field="task.dependencies"
        )
    for name in ("concurrency_limits", "rate_limits"):
        keys = [each.key for each in getattr(task, name)]
        if len(set(keys)) != len(keys):
            raise InvalidArgument("A key is limited twice.", field=f"task.{name}")


def _retry(message: task_policy_pb2.RetryPolicy) -> Retry:
    return Retry(
        initial_backoff=_seconds(message, "initial_backoff"),
        multiplier=message.multiplier or 2.0,
        max_backoff=_seconds(message, "max_backoff"),
        jitter=message.jitter,
        non_retryable_types=tuple(message.non_retryable_types),
    )


def _retry_to_proto(retry: Retry) -> task_policy_pb2.RetryPolicy:
    message = task_policy_pb2.RetryPolicy(
        multiplier=retry.multiplier,
        jitter=retry.jitter,
        non_retryable_types=retry.non_retryable_types,
    )
    _set(message, "initial_backoff", retry.initial_backoff)
    _set(message, "max_backoff", retry.max_backoff)
    return message


def _deadlines(message: task_policy_pb2.Deadlines) -> Deadlines:
    return Deadlines(
        queue=_seconds(message, "queue"),
        attempt=_seconds(message, "attempt"),
        heartbeat=_seconds(message, "heartbeat"),
        total=_seconds(message, "total"),
    )


def _placement(message: task_policy_pb2.Placement) -> Placement:
    patience = _seconds(message, "patience")
    return Placement(
        agent_id=str(UUID(message.agent_id)) if message.agent_id else "",
        version=message.version,
        required_labels=tuple(sorted(message.required_labels.items())),
        preferred_labels=tuple(sorted(message.preferred_labels.items())),
        excluded_agent_ids=tuple(sorted(str(UUID(each)) for each in message.excluded_agent_ids)),
        patience=PATIENCE if patience is None else patience,
        build_id=message.build_id,
    )


def _placement_to_proto(policy: Policy) -> task_policy_pb2.Placement:
    placement = policy.placement
    message = task_policy_pb2.Placement(
        agent_id=placement.agent_id,
        version=placement.version,
        required_labels=dict(placement.required_labels),
        preferred_labels=dict(placement.preferred_labels),
        excluded_agent_ids=placement.excluded_agent_ids,
        sticky_task_id=policy.sticky_task_id,
        build_id=placement.build_id,
    )
    _set(message, "patience", placement.patience)
    return message


def _budget(task: task_pb2.Task) -> Budget | None:
    if not task.HasField("budget"):
        return None
    budget = task.budget
    return Budget(budget.max_depth, budget.max_tasks, budget.max_tokens, budget.max_cost)


def _seconds(message: Message, name: str) -> float | None:
    if not message.HasField(name):
        return None
    duration: Duration = getattr(message, name)
    return duration.ToNanoseconds() / 1e9


def _set(message: Message, name: str, seconds: float | None) -> None:
    if seconds is not None:
        duration: Duration = getattr(message, name)
        duration.FromNanoseconds(round(seconds * 1e9))
