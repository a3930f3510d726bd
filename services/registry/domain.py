"""Agents, what they say of themselves, and whether they are alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.registry.errors import CapabilityRepeated


class AgentState(StrEnum):
    """Whether an agent's lease is running."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True)
class Capability:
    """Something an agent can do."""

    name: str
    version: str
    description: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What an agent says of itself.

    Raises:
        CapabilityRepeated: A capability is declared more than once.
    """

    name: str
    description: str
    capabilities: tuple[Capability, ...]
    labels: Mapping[str, str]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for capability in self.capabilities:
            if capability.name in seen:
                raise CapabilityRepeated(capability.name)
            seen.add(capability.name)


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent.

    Attributes:
        state: Judged by the database's clock when the agent was read.
        heartbeat_time: When it last registered or sent a heartbeat.
    """

    id: UUID
    profile: Profile
    state: AgentState
    create_time: datetime
    heartbeat_time: datetime
    lease_expire_time: datetime


@dataclass(frozen=True, slots=True)
class CapabilityOffer:
    """How many agents declare a capability, and how many of them are online."""

    name: str
    agents: int
    agents_online: int
