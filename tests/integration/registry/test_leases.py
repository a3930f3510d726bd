"""Leases, judged by the database's clock."""

from __future__ import annotations

from sqlalchemy import text

from mesh.registry.v1.agent_pb2 import AGENT_STATE_OFFLINE, AGENT_STATE_ONLINE
from mesh.registry.v1.registry_service_pb2 import (
    GetAgentRequest,
    HeartbeatAgentRequest,
    ListAgentsRequest,
    ListCapabilitiesRequest,
)
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from meshkit.database.engine import Database
from tests.integration.registry.agents import register


async def run_out(database: Database, agent_id: str) -> None:
    """Make the agent's lease one that ran out a millisecond ago."""
    statement = text(
        "UPDATE agents SET lease_expire_time = now() - interval '1 ms' WHERE id = CAST(:id AS uuid)"
    )
    await database.transaction(lambda tx: tx.execute(statement, {"id": agent_id}))


async def test_an_agent_goes_offline_when_its_lease_runs_out(
    registry: RegistryServiceStub, database: Database
) -> None:
    agent = await register(registry, "counter")

    await run_out(database, agent.id)

    assert (await registry.GetAgent(GetAgentRequest(agent_id=agent.id))).state == (
        AGENT_STATE_OFFLINE
    )
    assert not (await registry.ListAgents(ListAgentsRequest(filter="state = ONLINE"))).agents
    assert (await registry.ListAgents(ListAgentsRequest(filter="state = OFFLINE"))).agents


async def test_a_heartbeat_brings_an_agent_back(
    registry: RegistryServiceStub, database: Database
) -> None:
    agent = await register(registry, "counter")
    await run_out(database, agent.id)

    renewed = await registry.HeartbeatAgent(HeartbeatAgentRequest(agent_id=agent.id))

    assert renewed.state == AGENT_STATE_ONLINE
    assert renewed.lease_expire_time.ToDatetime() > agent.lease_expire_time.ToDatetime()
    assert renewed.heartbeat_time.ToDatetime() > agent.heartbeat_time.ToDatetime()
    assert renewed.capabilities == agent.capabilities


async def test_a_leaving_agent_is_offline_at_once(registry: RegistryServiceStub) -> None:
    agent = await register(registry, "counter")

    left = await registry.HeartbeatAgent(HeartbeatAgentRequest(agent_id=agent.id, leaving=True))

    assert left.state == AGENT_STATE_OFFLINE
    assert left.lease_expire_time == left.heartbeat_time
    assert (await register(registry, "counter")).state == AGENT_STATE_ONLINE


async def test_capabilities_are_counted_with_those_online(
    registry: RegistryServiceStub, stranger: RegistryServiceStub, database: Database
) -> None:
    await register(registry, "one", "text.count", "text.compare")
    gone = await register(registry, "two", "text.count", "csv.summarise")
    await register(stranger, "three", "text.count")
    await run_out(database, gone.id)

    response = await registry.ListCapabilities(ListCapabilitiesRequest())

    assert [(each.name, each.agents, each.agents_online) for each in response.offers] == [
        ("csv.summarise", 1, 0),
        ("text.compare", 1, 1),
        ("text.count", 2, 1),
    ]


async def test_one_capability_can_be_asked_for(registry: RegistryServiceStub) -> None:
    await register(registry, "one", "text.count", "text.compare")

    known = await registry.ListCapabilities(ListCapabilitiesRequest(name="text.count"))
    unknown = await registry.ListCapabilities(ListCapabilitiesRequest(name="text"))

    assert [(each.name, each.agents) for each in known.offers] == [("text.count", 1)]
    assert not unknown.offers
