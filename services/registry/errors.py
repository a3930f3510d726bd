"""What can go wrong in the registry."""

from __future__ import annotations

from meshkit.errors import InvalidArgument, NotFound


class AgentNotFound(NotFound):
    """No such agent in the caller's tenant."""

    reason = "AGENT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "There is no agent with this id; register it, or list the agents.", field="agent_id"
        )


class CapabilityRepeated(InvalidArgument):
    """An agent that declares the same capability more than once."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The capability {name!r} is declared twice; declare each one once.",
            field="agent.capabilities",
        )
