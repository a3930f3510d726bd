"""A service's own token, and what it makes of auth's answers about its callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from mesh.auth.v1 import auth_service_pb2, token_pb2
from mesh.auth.v1.auth_service_pb2_grpc import (
    AuthServiceServicer,
    add_AuthServiceServicer_to_server,
)
from meshkit.errors import DomainError, PermissionDenied, Unauthenticated, Unavailable
from meshkit.security.api_keys import refused
from meshkit.security.identity import Identity, ServiceToken
from meshkit.settings import GrpcSettings, IdentitySettings, PeerSettings
from meshkit.testing.serving import Served, serving
from meshkit.testing.tokens import TokenFactory
from tests.manual_clock import ManualClock
from tests.waiting import until


class Auth(AuthServiceServicer):
    """Answers as told, and serves only what these tests ask for."""

    def __init__(self, tokens: TokenFactory) -> None:
        self._tokens = tokens
        self.exchanged = 0
        self.problem: DomainError | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def ExchangeToken(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - the proto's
        self.exchanged += 1
        await self.open.wait()
        if self.problem:
            raise self.problem
        token = self._tokens.sign("mesh:verify", subject=f"service:{self.exchanged}")
        response = auth_service_pb2.ExchangeTokenResponse(access_token=token)
        response.expires_in.FromTimedelta(timedelta(seconds=100))
        return response

    async def VerifyApiKey(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - the proto's
        if self.problem:
            raise self.problem
        return token_pb2.Principal(subject="key:1", tenant="acme", permissions=["a:b"])


@pytest.fixture
def auth(tokens: TokenFactory) -> Auth:
    return Auth(tokens)  # type: ignore[abstract]  # the other RPCs are not called


@pytest.fixture
async def served(auth: Auth, tokens: TokenFactory) -> AsyncIterator[Served]:
    settings = GrpcSettings(port=0, drain_delay=0, grace=0.1)
    service = serving(add_AuthServiceServicer_to_server, auth, tokens.verifier, settings=settings)
    async with service as served:
        yield served


@pytest.fixture
async def identity(served: Served) -> AsyncIterator[Identity]:
    settings = IdentitySettings(api_key=SecretStr("mesh_own"))
    identity = Identity(settings, PeerSettings(auth=served.address))
    yield identity
    await identity.close()


async def test_a_service_renews_its_token_in_time(auth: Auth, served: Served) -> None:
    clock = ManualClock()
    token = ServiceToken(served.channel(), "mesh_own", clock=clock)
    first = await asyncio.gather(*(token.get() for _ in range(5)))
    clock.advance(79)
    assert {await token.get(), *first} == {first[0]}
    assert auth.exchanged == 1
    clock.advance(2)
    assert await token.get() != first[0]
    assert auth.exchanged == 2


@pytest.mark.parametrize("problem", [Unavailable("away"), Unauthenticated("revoked")])
async def test_a_token_serves_while_it_works_though_auth_does_not(
    auth: Auth, served: Served, problem: DomainError
) -> None:
    clock = ManualClock()
    token = ServiceToken(served.channel(), "mesh_own", clock=clock)
    first = await token.get()
    auth.problem = problem
    clock.advance(81)
    assert [await token.get() for _ in range(5)] == [first] * 5
    assert auth.exchanged == 2
    clock.advance(18)
    assert await token.get() == first
    clock.advance(2)
    with pytest.raises(Unavailable, match="can't be checked now"):
        await token.get()
    auth.problem = None
    assert await token.get() != first


async def test_a_renewal_that_hangs_holds_up_nobody_else(auth: Auth, served: Served) -> None:
    clock = ManualClock()
    token = ServiceToken(served.channel(), "mesh_own", clock=clock)
    first = await token.get()
    auth.open.clear()
    clock.advance(81)
    renewing = asyncio.create_task(token.get())
    await until(lambda: auth.exchanged == 2)
    assert await token.get() == first
    auth.open.set()
    assert await renewing != first


async def test_a_good_key_is_whom_auth_says(identity: Identity) -> None:
    principal = await identity.verifier.verify("mesh_any")
    assert (principal.subject, principal.tenant, principal.permissions) == (
        "key:1",
        "acme",
        ("a:b",),
    )


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (refused(), Unauthenticated),
        (Unauthenticated("The access token is not valid."), Unavailable),
        (PermissionDenied("lacks mesh:verify"), Unavailable),
        (DomainError("Something went wrong inside."), Unavailable),
        (Unavailable("ipv4:10.0.0.1 refused"), Unavailable),
    ],
    ids=["bad key", "the service's token", "the service's role", "auth's fault", "auth's absence"],
)
async def test_only_what_is_said_of_the_key_is_held_against_the_caller(
    auth: Auth, identity: Identity, problem: DomainError, answer: type[DomainError]
) -> None:
    await identity.verifier.verify("mesh_other")
    auth.problem = problem
    with pytest.raises(answer) as told:
        await identity.verifier.verify("mesh_any")
    expected = refused() if answer is Unauthenticated else None
    assert told.value.message == (
        expected.message if expected else "Credentials can't be checked now. Try again."
    )


async def test_a_key_too_long_to_be_one_is_refused_as_any_other(identity: Identity) -> None:
    with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
        await identity.verifier.verify("mesh_" + "x" * 300)


@pytest.mark.parametrize("credential", ["mesh_any", None], ids=["key", "token"])
async def test_without_auth_nothing_can_be_checked_and_no_address_is_told(
    tokens: TokenFactory, credential: str | None
) -> None:
    identity = Identity(IdentitySettings(), PeerSettings(auth="127.0.0.1:1", timeout=5))
    with pytest.raises(Unavailable, match="can't be checked now") as unavailable:
        await identity.verifier.verify(credential or tokens.sign("a:b"))
    assert "127.0.0.1" not in unavailable.value.message
    await identity.close()
