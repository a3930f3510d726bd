"""Every bad credential at every RPC, by gRPC and JSON: refused before the request is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import httpx
import pytest

from agentmesh.connection import Connection
from meshkit.security.delegation import PERMISSION as DELEGATE
from meshkit.security.delegation import SUBJECT_KEY, TENANT_KEY
from meshkit.security.tenants import PERMISSION as TENANTS
from meshkit.security.tenants import TENANT_KEY as WANTED_TENANT_KEY
from tests.e2e.every_rpc import (
    GUARDED,
    MALFORMED,
    METHODS,
    PERMISSIONS,
    Answer,
    answers_of,
    by_grpc,
    by_json,
    grpc_answer,
    permission,
)
from tests.e2e.forging import BAD, Forger, forger
from tests.e2e.mesh import RunningMesh

PUBLIC: Final = {
    "mesh.auth.v1.AuthService.ExchangeToken",
    "mesh.auth.v1.AuthService.GetJwks",
    "mesh.auth.v1.UserService.Login",
    "mesh.auth.v1.UserService.RefreshToken",
    "mesh.auth.v1.UserService.Logout",
    "mesh.auth.v1.UserService.ResetPassword",
}
"""All that anybody may call: an RPC is opened here on purpose, or it is closed."""

DELEGATION: Final = {TENANT_KEY: "victim", SUBJECT_KEY: "user:victim"}
WAYS: Final[dict[str, Callable[[str], Any]]] = {"grpc": by_grpc, "json": by_json}

pytestmark = pytest.mark.filterwarnings(
    "ignore:The HMAC key is:jwt.warnings.InsecureKeyLengthWarning"
)
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
async def forge(mesh: RunningMesh) -> AsyncIterator[Forger]:
    async with forger(mesh) as made:
        yield made


async def refused_otherwise(
    mesh: RunningMesh,
    way: str,
    headers: Callable[[str], Mapping[str, str]],
    wanted: Callable[[str], Answer],
) -> dict[str, Answer]:
    """Call every RPC; return the answers that are not those wanted for its permission."""
    async with WAYS[way](mesh.url) as rpcs:
        answers = await answers_of(rpcs, headers)
    assert len(answers) > 80
    return {rpc.name: answer for rpc, answer in answers if answer != wanted(rpc.permission)}


def denied(needs: str) -> Answer:
    return Answer("PERMISSION_DENIED", "PERMISSION_DENIED", needs)


def test_what_is_open_was_opened_on_purpose() -> None:
    assert {each.full_name for each in METHODS if not permission(each)} == PUBLIC


@each_way
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_credential_opens_nothing(
    mesh: RunningMesh, forge: Forger, name: str, way: str
) -> None:
    headers = await forge.bad(name)
    reason = (
        "CREDENTIAL_INVALID" if name not in ("none", "another scheme") else "CREDENTIAL_MISSING"
    )
    refusal = Answer("UNAUTHENTICATED", reason)
    assert await refused_otherwise(mesh, way, lambda _: headers, lambda _: refusal) == {}


@each_way
@pytest.mark.parametrize("held", ["nothing", "all others"])
async def test_a_good_token_is_told_which_permission_it_lacks(
    mesh: RunningMesh, forge: Forger, held: str, way: str
) -> None:
    tokens = {
        needs: await forge.good(*(set(PERMISSIONS) - {needs} if held == "all others" else ()))
        for needs in PERMISSIONS
    }
    assert await refused_otherwise(mesh, way, tokens.__getitem__, denied) == {}


@each_way
async def test_who_acts_for_others_inside_does_not_from_outside(
    mesh: RunningMesh, forge: Forger, way: str
) -> None:
    """The gateway takes the headers away: the call is the token's own, which lacks the rest."""
    headers = {**await forge.good(DELEGATE), **DELEGATION}
    assert await refused_otherwise(mesh, way, lambda _: headers, denied) == {}
    nobody = Answer("UNAUTHENTICATED", "CREDENTIAL_MISSING")
    assert await refused_otherwise(mesh, way, lambda _: DELEGATION, lambda _: nobody) == {}


async def test_the_headers_of_delegation_name_nobody_from_outside(
    mesh: RunningMesh, forge: Forger
) -> None:
    headers = {**await forge.good("self:read", DELEGATE), **DELEGATION}
    async with httpx.AsyncClient(base_url=mesh.url, headers=headers) as client:
        me = (await client.get("/api/v1/auth/whoami")).json()
    assert (me["subject"], me["tenant"]) == ("key:forged", "acme")


@each_way
async def test_another_tenant_is_closed_to_who_is_confined_to_its_own(
    mesh: RunningMesh, forge: Forger, way: str
) -> None:
    headers = {**await forge.good("*"), WANTED_TENANT_KEY: "victim"}
    assert await refused_otherwise(mesh, way, lambda _: headers, lambda _: denied(TENANTS)) == {}


async def test_a_good_token_comes_as_far_as_the_request(mesh: RunningMesh, forge: Forger) -> None:
    """So that what is refused above is refused for its credential."""
    headers = await forge.good("*", "mesh:*")
    unread: dict[str, Answer] = {}
    async with Connection(mesh.url, "").channel() as channel:
        for method in GUARDED:
            answer = await grpc_answer(channel, method, [MALFORMED], headers)
            if answer != Answer("INVALID_ARGUMENT", "INVALID_ARGUMENT"):
                unread[method.full_name] = answer
    assert unread == {}


async def test_what_is_open_asks_for_no_credential(mesh: RunningMesh) -> None:
    closed: dict[str, Answer] = {}
    async with Connection(mesh.url, "").channel() as channel:
        for method in METHODS:
            if method.full_name in PUBLIC:
                answer = await grpc_answer(channel, method, [MALFORMED], {})
                if answer != Answer("INVALID_ARGUMENT", "INVALID_ARGUMENT"):
                    closed[method.full_name] = answer
    assert closed == {}
