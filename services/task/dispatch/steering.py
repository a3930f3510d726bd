"""What is paused, and which builds get what: as this replica knows it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from services.task.dispatch.fitting import Routing

Place = tuple[str, str]
"""A tenant, and a capability or the id of an agent."""


@dataclass(slots=True)
class Steering:
    """The pauses and build routings in force; `version` grows when they change.

    Attributes:
        capabilities: Each tenant's capabilities that are paused.
        agents: The same of agents, by their ids as text.
        routings: Of each tenant's capability.
    """

    capabilities: AbstractSet[Place] = field(default_factory=frozenset)
    agents: AbstractSet[Place] = field(default_factory=frozenset)
    routings: Mapping[Place, Routing] = field(default_factory=dict)
    version: int = 0

    def is_paused(self, tenant: str, capability: str) -> bool:
        """Tell whether a capability is paused."""
        return bool(self.capabilities) and (tenant, capability) in self.capabilities

    def is_agent_paused(self, tenant: str, agent_id: str) -> bool:
        """Tell whether an agent is paused."""
        return bool(self.agents) and (tenant, agent_id) in self.agents

    def is_ramping(self, tenant: str, capability: str) -> bool:
        """Tell whether a capability's tasks are divided among two builds."""
        routing = self.routings.get((tenant, capability))
        return routing is not None and bool(routing.ramping)

    def replace(
        self,
        capabilities: AbstractSet[Place],
        agents: AbstractSet[Place],
        routings: Mapping[Place, Routing],
    ) -> bool:
        """Take over what is in force now; tell whether that is anything new."""
        now = (capabilities, agents, routings)
        if now == (self.capabilities, self.agents, self.routings):
            return False
        self.capabilities, self.agents, self.routings = now
        self.version += 1
        return True
