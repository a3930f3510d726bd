"""Input that is no good in ways that the proto's bounds don't cover."""

from __future__ import annotations

import pytest
from grpc import StatusCode, aio

from mesh.registry.v1.agent_pb2 import Agent, Capability
from mesh.registry.v1.registry_service_pb2 import ListAgentsRequest, RegisterAgentRequest
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from meshkit.testing.refusals import fields_of, reason_of, refusal
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from tests.integration.registry.agents import agent

REGISTER = "/mesh.registry.v1.RegistryService/RegisterAgent"
NUL_IN_CAPABILITY = Agent(
    name="a", capabilities=[Capability(name="b"), Capability(name="c", version="\0")]
)


async def call_raw(channel: aio.Channel, sent: bytes) -> None:
    method: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(REGISTER)
    await method(sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff",
        RegisterAgentRequest(agent=agent("zzzz")).SerializeToString().replace(b"z", b"\xff"),
    ],
    ids=["not a message", "not UTF-8"],
)
async def test_bytes_that_are_no_request_are_refused(
    served: Served, tokens: TokenFactory, sent: bytes
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"):
        await call_raw(served.channel(tokens.sign("agent:*")), sent)


async def test_who_has_no_credential_learns_nothing_of_what_is_wrong(served: Served) -> None:
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"):
        await call_raw(served.channel(), b"\xff")


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (Agent(name="a", description="\0", capabilities=[Capability(name="b")]), "description"),
        (agent("a", "b", zone="\0"), "labels"),
        (NUL_IN_CAPABILITY, "capabilities[1].version"),
    ],
)
async def test_a_text_with_nul_is_refused(
    registry: RegistryServiceStub, sent: Agent, field: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", f"agent.{field}"):
        await registry.RegisterAgent(RegisterAgentRequest(agent=sent))


async def test_a_filter_with_nul_is_refused(registry: RegistryServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "filter"):
        await registry.ListAgents(ListAgentsRequest(filter='name = "\0"'))


@pytest.mark.parametrize(
    "sent",
    [
        agent("a", *("BAD" for _ in range(256))),
        agent("a", "b", **{"é" * 50_000: "v"}),
        agent("é" * 50_000),
    ],
    ids=["many faults", "a long key", "a long name"],
)
async def test_an_error_always_fits_the_trailers(
    registry: RegistryServiceStub, sent: Agent
) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await registry.RegisterAgent(RegisterAgentRequest(agent=sent))

    assert refused.value.code() == StatusCode.INVALID_ARGUMENT
    assert reason_of(refused.value) == "INVALID_ARGUMENT"
    assert all(field.startswith("agent.") for field in fields_of(refused.value))
    # Above the soft limit of gRPC's clients, 8 KiB, a call may or may not arrive.
    size = sum(len(key) + len(value) for key, value in refused.value.trailing_metadata() or ())
    assert size < 8192


async def test_a_request_that_is_too_large_is_refused(registry: RegistryServiceStub) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        await registry.RegisterAgent(RegisterAgentRequest(agent=agent("a" * (2 << 20))))
