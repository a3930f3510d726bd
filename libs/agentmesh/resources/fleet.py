"""Agents, their connections and builds, and keys, as the client returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from mesh.auth.v1 import auth_service_pb2
from mesh.registry.v1 import agent_pb2
from mesh.task.v1 import queue_service_pb2


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
class ConnectionInfo:
    """An agent process on its stream.

    Attributes:
        slots: Most tasks it works on at a time.
        held: Tasks it holds.
        task_ids: The tasks it holds, the first 100.
    """

    agent_id: str
    agent_name: str
    process_id: str
    capabilities: Sequence[str]
    slots: int
    held: int
    build_id: str
    sdk: str
    connect_time: datetime
    last_seen_time: datetime
    task_ids: Sequence[str]

    @classmethod
    def from_proto(cls, message: queue_service_pb2.Connection) -> Self:
        """Decode a connection."""
        return cls(
            agent_id=message.agent_id,
            agent_name=message.agent_name,
            process_id=message.process_id,
            capabilities=tuple(message.capabilities),
            slots=message.slots,
            held=message.held,
            build_id=message.build_id,
            sdk=message.sdk,
            connect_time=message.connect_time.ToDatetime(UTC),
            last_seen_time=message.last_seen_time.ToDatetime(UTC),
            task_ids=tuple(message.task_ids),
        )


@dataclass(frozen=True, slots=True)
class BuildRouting:
    """Which builds get the tasks of a capability that name no build themselves.

    Attributes:
        current: Build that gets all tasks but those of the ramping one.
        ramping: Build that gets a share; empty for none.
        percent: That share; a task keeps its side as the share grows.
    """

    capability: str
    current: str
    ramping: str
    percent: int
    update_time: datetime

    @classmethod
    def from_proto(cls, message: queue_service_pb2.BuildRouting) -> Self:
        """Decode a routing."""
        return cls(
            capability=message.capability,
            current=message.current_build_id,
            ramping=message.ramping_build_id,
            percent=message.ramping_percent,
            update_time=message.update_time.ToDatetime(UTC),
        )
