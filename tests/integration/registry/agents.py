"""Agents to register in tests."""

from __future__ import annotations

from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub


def agent(name: str, *capabilities: str, **labels: str) -> agent_pb2.Agent:
    """Write an agent that offers the capabilities, `text.count` if none is named."""
    offered = [agent_pb2.Capability(name=each) for each in capabilities or ("text.count",)]
    return agent_pb2.Agent(name=name, capabilities=offered, labels=labels)


async def register(registry: RegistryServiceStub, name: str, *capabilities: str) -> agent_pb2.Agent:
    """Register an agent."""
    request = registry_service_pb2.RegisterAgentRequest(agent=agent(name, *capabilities))
    return await registry.RegisterAgent(request)
