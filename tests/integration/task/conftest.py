"""Callers of the task service: an operator who also drives agents, and a stranger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from grpc import aio

from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.serving import bearer
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.task.agents import register

EVERYTHING = ("task:*", "agent:*", "invocation:*")


@pytest.fixture
async def channel(small_mesh: RunningReplica, tokens: TokenFactory) -> AsyncIterator[aio.Channel]:
    """Call as an operator of the tenant `acme`."""
    async with open_channel(small_mesh, tokens, "acme") as opened:
        yield opened


@pytest.fixture
def caller(channel: aio.Channel) -> TaskServiceStub:
    return TaskServiceStub(channel)


@pytest.fixture
async def known(channel: aio.Channel) -> None:
    """Have one agent know the capabilities that tests ask for; nobody is connected."""
    await register(channel, "known", ["text.count", "text.other"])


@pytest.fixture
async def stranger(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> AsyncIterator[TaskServiceStub]:
    """Call as an operator of another tenant."""
    async with open_channel(small_mesh, tokens, "umbrella") as opened:
        yield TaskServiceStub(opened)


def open_channel(running: RunningReplica, tokens: TokenFactory, tenant: str) -> aio.Channel:
    """Open a channel to a replica, as an operator of the tenant."""
    token = tokens.sign(*EVERYTHING, tenant=tenant)
    return aio.insecure_channel(running.address, interceptors=bearer(token))
