"""What the client returns: plain, frozen Python values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from agentmesh.payloads import from_struct, from_value
from mesh.analytics.v1 import analytics_service_pb2, invocation_pb2
from mesh.auth.v1 import auth_service_pb2
from mesh.registry.v1 import agent_pb2
from mesh.task.v1 import task_pb2

_DONE = ("SUCCEEDED", "FAILED", "CANCELLED")


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
class Task:
    """A task.

    Attributes:
        state: `QUEUED`, `RUNNING`, `SUCCEEDED`, `FAILED` or `CANCELLED`.
        result: What the agent returned, once succeeded.
        attempt: Attempts started so far.
    """

    id: str
    capability: str
    state: str
    input: Mapping[str, Any]
    result: Any
    error: TaskError | None
    progress: Progress | None
    attempt: int
    agent_id: str
    priority: int
    labels: Mapping[str, str]
    create_time: datetime
    end_time: datetime | None

    @property
    def is_done(self) -> bool:
        """Whether the state is a terminal one."""
        return self.state in _DONE

    @classmethod
    def from_proto(cls, message: task_pb2.Task) -> Self:
        """Decode a task."""
        error, progress = message.error, message.progress
        return cls(
            id=message.id,
            capability=message.capability,
            state=task_pb2.TaskState.Name(message.state).removeprefix("TASK_STATE_"),
            input=from_struct(message.input),
            result=from_value(message.result),
            error=TaskError(error.type, error.message) if message.HasField("error") else None,
            progress=Progress(progress.fraction, progress.message)
            if message.HasField("progress")
            else None,
            attempt=message.attempt,
            agent_id=message.agent_id,
            priority=message.priority,
            labels=dict(message.labels),
            create_time=message.create_time.ToDatetime(UTC),
            end_time=message.end_time.ToDatetime(UTC) if message.HasField("end_time") else None,
        )


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One change of a task.

    Attributes:
        sequence: Place in the task's history, from 1 without gaps.
        type: `CREATED`, `STARTED`, `PROGRESSED`, `RETRYING`, `RELEASED`,
            `SUCCEEDED`, `FAILED` or `CANCELLED`.
        task: The task right after it, without its input.
    """

    sequence: int
    type: str
    task: Task

    @classmethod
    def from_proto(cls, message: task_pb2.TaskEvent) -> Self:
        """Decode an event."""
        type_ = task_pb2.TaskEvent.Type.Name(message.type).removeprefix("TYPE_")
        return cls(message.sequence, type_, Task.from_proto(message.task))


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent as the registry knows it; `state` is `ONLINE` or `OFFLINE`."""

    id: str
    name: str
    state: str
    capabilities: tuple[str, ...]
    labels: Mapping[str, str]

    @classmethod
    def from_proto(cls, message: agent_pb2.Agent) -> Self:
        """Decode an agent."""
        return cls(
            id=message.id,
            name=message.name,
            state=agent_pb2.AgentState.Name(message.state).removeprefix("AGENT_STATE_"),
            capabilities=tuple(capability.name for capability in message.capabilities),
            labels=dict(message.labels),
        )


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key just created; `secret` is the credential itself."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def from_proto(cls, message: auth_service_pb2.CreateApiKeyResponse) -> Self:
        """Decode a created key."""
        return cls(message.api_key.id, message.secret)


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals over a set of invocations; `success_rate` is 0 to 1."""

    total: int
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float
    latency_mean: timedelta
    latency_p50: timedelta
    latency_p95: timedelta
    latency_p99: timedelta

    @classmethod
    def from_proto(cls, message: invocation_pb2.Totals) -> Self:
        """Decode totals."""
        return cls(
            total=message.total,
            succeeded=message.succeeded,
            failed=message.failed,
            cancelled=message.cancelled,
            success_rate=message.success_rate,
            latency_mean=message.latency_mean.ToTimedelta(),
            latency_p50=message.latency_p50.ToTimedelta(),
            latency_p95=message.latency_p95.ToTimedelta(),
            latency_p99=message.latency_p99.ToTimedelta(),
        )


@dataclass(frozen=True, slots=True)
class Overview:
    """What the fleet did: in all, by agent's name, by capability."""

    totals: Totals
    agents: Mapping[str, Totals]
    capabilities: Mapping[str, Totals]

    @classmethod
    def from_proto(cls, message: analytics_service_pb2.Overview) -> Self:
        """Decode an overview."""
        return cls(
            totals=Totals.from_proto(message.totals),
            agents={each.agent_name: Totals.from_proto(each.totals) for each in message.agents},
            capabilities={
                each.capability: Totals.from_proto(each.totals) for each in message.capabilities
            },
        )
