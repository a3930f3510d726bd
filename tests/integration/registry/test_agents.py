"""Registering, finding and removing agents."""

from __future__ import annotations

import asyncio

import pytest
from grpc import StatusCode

from mesh.registry.v1 import agent_pb2
from mesh.registry.v1.agent_pb2 import Agent, Capability
from mesh.registry.v1.registry_service_pb2 import (
    DeregisterAgentRequest,
    GetAgentRequest,
    HeartbeatAgentRequest,
    ListAgentsRequest,
    RegisterAgentRequest,
)
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from tests.integration.registry.agents import agent, register

MISSING = "01890000-0000-7000-8000-000000000000"


async def names(registry: RegistryServiceStub, expression: str) -> list[str]:
    response = await registry.ListAgents(ListAgentsRequest(filter=expression))
    return [each.name for each in response.agents]


async def test_a_registered_agent_is_kept_whole(registry: RegistryServiceStub) -> None:
    sent = Agent(
        name="counter-1",
        description="Counts words.",
        capabilities=[
            Capability(name="text.count", version="1.2.0", description="Counts words."),
            Capability(name="csv.summarise"),
        ],
        labels={"zone": "eu", "gpu": ""},
    )

    registered = await registry.RegisterAgent(RegisterAgentRequest(agent=sent))

    assert registered.name == sent.name
    assert registered.description == sent.description
    assert list(registered.capabilities) == list(sent.capabilities)
    assert dict(registered.labels) == {"zone": "eu", "gpu": ""}
    assert registered.state == agent_pb2.AGENT_STATE_ONLINE
    assert registered.create_time == registered.heartbeat_time
    lease = registered.lease_expire_time.ToDatetime() - registered.heartbeat_time.ToDatetime()
    assert lease.total_seconds() == 30
    assert await registry.GetAgent(GetAgentRequest(agent_id=registered.id)) == registered


async def test_registering_a_name_again_keeps_its_id_and_replaces_the_rest(
    registry: RegistryServiceStub,
) -> None:
    first = await register(registry, "counter", "text.count", "text.compare")
    changed = agent("counter", "csv.summarise", zone="us")

    second = await registry.RegisterAgent(RegisterAgentRequest(agent=changed))

    assert second.id == first.id
    assert second.create_time == first.create_time
    assert second.heartbeat_time.ToDatetime() > first.heartbeat_time.ToDatetime()
    assert [each.name for each in second.capabilities] == ["csv.summarise"]
    assert dict(second.labels) == {"zone": "us"}
    assert len((await registry.ListAgents(ListAgentsRequest())).agents) == 1


async def test_many_registrations_of_one_name_at_once_make_one_agent(
    registry: RegistryServiceStub,
) -> None:
    registered = await asyncio.gather(
        *(register(registry, "counter", "text.count", f"v{number}") for number in range(20))
    )

    assert len({each.id for each in registered}) == 1
    kept = await registry.GetAgent(GetAgentRequest(agent_id=registered[0].id))
    assert len(kept.capabilities) == 2


async def test_the_same_name_in_two_tenants_is_two_agents(
    registry: RegistryServiceStub, stranger: RegistryServiceStub
) -> None:
    assert (await register(registry, "counter")).id != (await register(stranger, "counter")).id


async def test_a_removed_agent_is_gone(registry: RegistryServiceStub) -> None:
    registered = await register(registry, "counter")
    request = DeregisterAgentRequest(agent_id=registered.id)

    await registry.DeregisterAgent(request)

    with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
        await registry.DeregisterAgent(request)
    with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
        await registry.GetAgent(GetAgentRequest(agent_id=registered.id))
    with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
        await registry.HeartbeatAgent(HeartbeatAgentRequest(agent_id=registered.id))


async def test_pages_go_from_the_newest_to_the_oldest_and_end(
    registry: RegistryServiceStub,
) -> None:
    registered = [await register(registry, f"agent-{number}") for number in range(5)]
    oldest_first = sorted(each.id for each in registered)
    seen: list[list[str]] = []
    token = ""
    while not seen or token:
        page = await registry.ListAgents(ListAgentsRequest(page_size=2, page_token=token))
        seen.append([each.id for each in page.agents])
        token = page.next_page_token

    assert [len(page) for page in seen] == [2, 2, 1]
    assert [each for page in seen for each in page] == oldest_first[::-1]


async def test_a_page_token_is_good_for_its_query_only(
    registry: RegistryServiceStub, stranger: RegistryServiceStub
) -> None:
    for name in ("a", "b"):
        await register(registry, name)
    token = (await registry.ListAgents(ListAgentsRequest(page_size=1))).next_page_token

    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await registry.ListAgents(ListAgentsRequest(page_token=token, filter="state = ONLINE"))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await stranger.ListAgents(ListAgentsRequest(page_token=token))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await registry.ListAgents(ListAgentsRequest(page_token="nonsense"))


async def test_filters_select_by_name_capability_and_state(registry: RegistryServiceStub) -> None:
    await register(registry, "counter", "text.count", "text.compare")
    gone = await register(registry, "summariser", "csv.summarise", "text.count")
    await registry.HeartbeatAgent(HeartbeatAgentRequest(agent_id=gone.id, leaving=True))

    assert await names(registry, "") == ["summariser", "counter"]
    assert await names(registry, "name = counter") == ["counter"]
    assert await names(registry, "capability = text.count") == ["summariser", "counter"]
    assert await names(registry, 'capability = "text.compare"') == ["counter"]
    assert await names(registry, "capability = text") == []
    assert await names(registry, "state = ONLINE") == ["counter"]
    assert await names(registry, "state = OFFLINE AND capability = text.count") == ["summariser"]
    assert await names(registry, "name = counter AND state = OFFLINE") == []
    assert await names(registry, "-state = ONLINE") == ["summariser"]
    assert await names(registry, "capability:csv.summarise OR capability:text.compare") == [
        "summariser",
        "counter",
    ]
    assert await names(registry, "NOT capability:text.compare AND name = sum*") == ["summariser"]


async def test_filters_select_by_label(registry: RegistryServiceStub) -> None:
    for sent in (
        agent("red", zone="eu", gpu="2"),
        agent("blue", zone="us-east"),
        agent("grey"),
    ):
        await registry.RegisterAgent(RegisterAgentRequest(agent=sent))

    assert await names(registry, "labels.zone = eu") == ["red"]
    assert await names(registry, "labels:zone") == ["blue", "red"]
    assert await names(registry, "labels.zone = us*") == ["blue"]
    assert await names(registry, "labels.zone != eu") == ["blue"]
    assert await names(registry, "-labels.zone = eu") == ["grey", "blue"]
    assert await names(registry, "labels.gpu = 2 AND (labels.zone = eu OR name = x)") == ["red"]


async def test_a_page_token_goes_with_its_filter(registry: RegistryServiceStub) -> None:
    for name in ("a-1", "b-1", "a-2", "a-3"):
        await register(registry, name)
    seen: list[str] = []
    token = ""
    while not seen or token:
        request = ListAgentsRequest(page_size=2, page_token=token, filter="name = a-*")
        page = await registry.ListAgents(request)
        seen += [each.name for each in page.agents]
        token = page.next_page_token

    assert seen == ["a-3", "a-2", "a-1"]


@pytest.mark.parametrize(
    "expression",
    [
        "state = FOO",
        "state = online",
        "state > OFFLINE",
        "colour = red",
        "capability != text.count",
        "labels = red",
        "name",
        "name = a name = b",
        'name = "a',
        " AND ".join(["name = a"] * 33),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(
    registry: RegistryServiceStub, expression: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", "filter"):
        await registry.ListAgents(ListAgentsRequest(filter=expression))


async def test_another_tenants_agent_answers_as_a_missing_one_does(
    registry: RegistryServiceStub, stranger: RegistryServiceStub
) -> None:
    mine = await register(registry, "counter")

    for agent_id in (mine.id, MISSING):
        with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
            await stranger.GetAgent(GetAgentRequest(agent_id=agent_id))
        with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
            await stranger.HeartbeatAgent(HeartbeatAgentRequest(agent_id=agent_id, leaving=True))
        with refusal(StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id"):
            await stranger.DeregisterAgent(DeregisterAgentRequest(agent_id=agent_id))
    assert not (await stranger.ListAgents(ListAgentsRequest())).agents
    assert await registry.GetAgent(GetAgentRequest(agent_id=mine.id)) == mine


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (Agent(), "agent.capabilities"),
        (agent("no spaces please"), "agent.name"),
        (agent("a" * 129), "agent.name"),
        (agent("a", "Upper"), "agent.capabilities[0].name"),
        (agent("a", "b", zone="z" * 129), 'agent.labels["zone"]'),
        (agent("a", "text.count", "csv.count", "text.count"), "agent.capabilities"),
        (agent("a", *(f"c{number}" for number in range(257))), "agent.capabilities"),
    ],
)
async def test_a_bad_agent_is_refused_and_not_stored(
    registry: RegistryServiceStub, sent: Agent, field: str
) -> None:
    blamed = ["agent.name", field] if not sent.name else [field]
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", *blamed):
        await registry.RegisterAgent(RegisterAgentRequest(agent=sent))
    assert not (await registry.ListAgents(ListAgentsRequest())).agents


async def test_bad_requests_name_their_field(registry: RegistryServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "agent_id"):
        await registry.GetAgent(GetAgentRequest(agent_id="x"))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "agent_id"):
        await registry.HeartbeatAgent(HeartbeatAgentRequest())
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "page_size"):
        await registry.ListAgents(ListAgentsRequest(page_size=1001))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "agent"):
        await registry.RegisterAgent(RegisterAgentRequest())


async def test_who_may_not_is_turned_away(served: Served, tokens: TokenFactory) -> None:
    request = RegisterAgentRequest(agent=agent("counter"))
    nobody = RegistryServiceStub(served.channel())
    reader = RegistryServiceStub(served.channel(tokens.sign("agent:read", "task:*")))
    forger = RegistryServiceStub(served.channel(TokenFactory().sign("agent:*")))

    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"):
        await nobody.RegisterAgent(request)
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await forger.RegisterAgent(request)
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await reader.RegisterAgent(request)
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await reader.HeartbeatAgent(HeartbeatAgentRequest(agent_id=MISSING))
    assert not (await reader.ListAgents(ListAgentsRequest())).agents
