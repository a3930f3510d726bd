"""What is paused, and which builds get what: as this replica knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.task.dispatch.fitting import Routing


@dataclass(slots=True)
class Steering:
    """The pauses and build routings in force; `version` grows when they change.

    Attributes:
        capabilities: Until when each tenant's capability is paused; None for good.
        agents: The same of agents, by their ids as text.
        routings: Of each tenant's capability.
    """

    capabilities: Mapping[tuple[str, str], datetime | None] = field(default_factory=dict)
    agents: Mapping[tuple[str, str], datetime | None] = field(default_factory=dict)
    routings: Mapping[tuple[str, str], Routing] = field(default_factory=dict)
    version: int = 0

    def is_paused(self, tenant: str, capability: str) -> bool:
        """Tell whether a capability is paused now."""
        return bool(self.capabilities) and _holds(self.capabilities, (tenant, capability))

    def is_agent_paused(self, tenant: str, agent_id: str) -> bool:
        """Tell whether an agent is paused now."""
        return bool(self.agents) and _holds(self.agents, (tenant, agent_id))


def _holds(pauses: Mapping[tuple[str, str], datetime | None], key: tuple[str, str]) -> bool:
    if key not in pauses:
        return False
    until = pauses[key]
    return until is None or datetime.now(UTC) < until
