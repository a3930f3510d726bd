"""Auth without its database: sign-in stays closed, calls of the API go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode
from pydantic import SecretStr

from mesh.auth.v1.auth_service_pb2 import ExchangeTokenRequest
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from mesh.auth.v1.user_service_pb2 import LoginRequest, ResetPasswordRequest
from mesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from meshkit.database.engine import Database
from meshkit.ids import uuid7
from meshkit.limits.limiter import Limiter, RateLimited
from meshkit.limits.rate import RateLimit
from meshkit.settings import DatabaseSettings
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served, serving_all
from services.auth.secrets import compose, new_secret
from tests.integration.auth.replicas import Replica, replica

NOWHERE = SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
CLOSED = (StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


@pytest.fixture
async def stranded() -> AsyncIterator[Replica]:
    database = Database(DatabaseSettings(url=NOWHERE))
    yield replica(database)
    await database.close()


@pytest.fixture
async def away(stranded: Replica) -> AsyncIterator[Served]:
    async with serving_all(stranded.add_to, stranded.verifier) as served:
        yield served


async def test_nobody_signs_in(away: Served) -> None:
    users = UserServiceStub(away.channel())
    with refusal(*CLOSED):
        await users.Login(LoginRequest(email="ada@example.org", password="a password"))
    with refusal(*CLOSED):
        await users.ResetPassword(
            ResetPasswordRequest(reset_token="meshp_x", new_password="another password")
        )


async def test_no_key_that_was_not_seen_before_is_believed(away: Served) -> None:
    key = compose("test", uuid7(), new_secret())
    with refusal(*CLOSED):
        await AuthServiceStub(away.channel()).ExchangeToken(ExchangeTokenRequest(api_key=key))


async def test_calls_go_on_each_process_counting_by_itself(stranded: Replica) -> None:
    limiter = Limiter(stranded.rate_limits)
    for _ in range(5):
        await limiter.take("acme", "key:1", RateLimit(0.001, 5))
    with pytest.raises(RateLimited):
        await limiter.take("acme", "key:1", RateLimit(0.001, 5))
