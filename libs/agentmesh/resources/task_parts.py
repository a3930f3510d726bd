"""What is known of parts of a task, as the client returns it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from agentmesh.policies import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    Fairness,
    Placement,
    RateLimit,
    RetryPolicy,
)
from agentmesh.policy_messages import read
from mesh.task.v1 import task_pb2, task_policy_pb2


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why the last attempt failed."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the running attempt has come: 0 to 1, and in words."""

    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """What a paused task asks for: `kind` is `INPUT_REQUIRED` or `APPROVAL_REQUIRED`."""

    kind: str
    prompt: str
    details: Any


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task has used itself, over all attempts."""

    tokens: int
    cost: float


@dataclass(frozen=True, slots=True)
class PayloadInfo:
    """Data that is not carried along as JSON.

    Attributes:
        content_type: Its media type.
        blob_id: Where it is in the mesh's store of large data; empty if it came along.
    """

    content_type: str
    blob_id: str


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """What was asked of a task beyond its work, under the names of the options of `create_task`."""

    retry: RetryPolicy
    deadlines: Deadlines
    placement: Placement
    fairness: Fairness | None
    concurrency: Sequence[ConcurrencyLimit]
    rate_limits: Sequence[RateLimit]
    budget: Budget | None
    dependencies: Sequence[Dependency]
    needs_any: bool

    @classmethod
    def from_proto(cls, message: task_pb2.Task) -> Self:
        """Decode it from a task."""
        any_ = task_policy_pb2.Dependencies.MODE_ANY
        return cls(
            retry=read(message.retry_policy, RetryPolicy),
            deadlines=read(message.deadlines, Deadlines),
            placement=read(message.placement, Placement),
            fairness=read(message.fairness, Fairness) if message.HasField("fairness") else None,
            concurrency=tuple(read(each, ConcurrencyLimit) for each in message.concurrency_limits),
            rate_limits=tuple(read(each, RateLimit) for each in message.rate_limits),
            budget=read(message.budget, Budget) if message.HasField("budget") else None,
            dependencies=tuple(read(each, Dependency) for each in message.dependencies.tasks),
            needs_any=message.dependencies.mode == any_,
        )
