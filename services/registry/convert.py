"""Between the registry's messages and its domain."""

from __future__ import annotations

from typing import Final

from mesh.registry.v1 import agent_pb2, registry_service_pb2
from meshkit.filtering import STRING, STRING_MAP, STRINGS, Filter, enum, parse
from meshkit.timestamps import to_timestamp
from services.registry.domain import Agent, AgentState, Capability, CapabilityOffer, Profile

_FILTER_FIELDS: Final = {
    "name": STRING,
    "state": enum(AgentState),
    "capability": STRINGS,
    "labels": STRING_MAP,
}
_STATES = {
    AgentState.ONLINE: agent_pb2.AGENT_STATE_ONLINE,
    AgentState.OFFLINE: agent_pb2.AGENT_STATE_OFFLINE,
}


def profile_from_proto(message: agent_pb2.Agent) -> Profile:
    """Decode what an agent says of itself.

    Raises:
        CapabilityRepeated: A capability is declared more than once.
    """
    return Profile(
        name=message.name,
        description=message.description,
        capabilities=tuple(
            Capability(each.name, each.version, each.description) for each in message.capabilities
        ),
        labels=dict(message.labels),
    )


def agent_to_proto(agent: Agent) -> agent_pb2.Agent:
    """Encode an agent."""
    profile = agent.profile
    return agent_pb2.Agent(
        id=str(agent.id),
        name=profile.name,
        description=profile.description,
        capabilities=[
            agent_pb2.Capability(name=each.name, version=each.version, description=each.description)
            for each in profile.capabilities
        ],
        labels=profile.labels,
        state=_STATES[agent.state],
        create_time=to_timestamp(agent.create_time),
        heartbeat_time=to_timestamp(agent.heartbeat_time),
        lease_expire_time=to_timestamp(agent.lease_expire_time),
    )


def offer_to_proto(offer: CapabilityOffer) -> registry_service_pb2.CapabilityOffer:
    """Encode how many agents offer a capability."""
    return registry_service_pb2.CapabilityOffer(
        name=offer.name, agents=offer.agents, agents_online=offer.agents_online
    )


def agent_filter(expression: str) -> Filter | None:
    """Decode a filter of agents; None selects all of them.

    Raises:
        InvalidArgument: The expression can't be read, or names what doesn't exist.
    """
    return parse(expression, _FILTER_FIELDS)
