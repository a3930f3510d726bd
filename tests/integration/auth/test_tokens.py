"""Access tokens: got for keys, verified by anybody, refused when they are not what they seem."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode

from agentmesh.stack.postgres import EmbeddedPostgres
from mesh.auth.v1 import auth_service_pb2
from mesh.auth.v1.auth_service_pb2 import ExchangeTokenRequest, GetJwksRequest, WhoAmIRequest
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from meshkit.database.engine import Database
from meshkit.errors import Unauthenticated, Unavailable
from meshkit.security.rules import rules_of
from meshkit.testing.databases import ServiceDatabase
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from services.auth.errors import MasterKeyWrong
from services.auth.usecases.tokens import Tokens, check_master_key
from tests.integration.auth.replicas import Replica, replica
from tests.manual_clock import ManualClock

SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
RULES = rules_of([SERVICE])
GUARDED = sorted(method for method, rule in RULES.items() if not rule.public)
MATRIX = {
    "none": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING"),
    "malformed token": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "malformed key": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "overlong key": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "expired": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "wrong issuer": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "wrong audience": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "wrong algorithm": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "no algorithm": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "wrong type": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "unknown key id": (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"),
    "lacking permission": (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
}


async def credentials(auth: Replica, method: str) -> dict[str, str | None]:
    """Write each credential of the matrix, good in all but what it is named for."""
    wanted = {rule.permission for rule in RULES.values()} - {""}
    others = wanted - {RULES[method].permission}
    return {
        "none": None,
        "malformed token": "x.y.z",
        "malformed key": "mesh_test_x",
        "overlong key": "mesh_" + "x" * 1000,
        "expired": await auth.sign({"exp": datetime.now(UTC) - timedelta(seconds=1)}),
        "wrong issuer": await auth.sign({"iss": "other"}),
        "wrong audience": await auth.sign({"aud": "other"}),
        "wrong algorithm": await auth.sign(algorithm="HS256"),
        "no algorithm": await auth.sign(algorithm="none"),
        "wrong type": await auth.sign(headers={"typ": "JWT"}),
        "unknown key id": await auth.sign(headers={"kid": "other"}),
        "lacking permission": await auth.sign({"scope": " ".join(sorted(others))}),
    }


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.filterwarnings("ignore:The HMAC key is:jwt.warnings.InsecureKeyLengthWarning")
async def test_every_rpc_refuses_every_bad_credential(
    auth: Replica, served: Served, method: str
) -> None:
    made = await credentials(auth, method)
    assert made.keys() == MATRIX.keys()
    for name, credential in made.items():
        call: Any = served.channel(credential).unary_unary(method)
        with refusal(*MATRIX[name]):
            await call(b"")

    allowed: Any = served.channel(await auth.sign()).unary_unary(method)
    try:
        await allowed(b"")
    except Exception as error:  # noqa: BLE001 - whatever it is, it's no refusal of the credential
        assert "INVALID_ARGUMENT" in repr(error)  # noqa: PT017 - not every RPC wants a field


async def test_a_token_says_what_its_key_may_and_verifies_outside(
    auth: Replica, served: Served
) -> None:
    stub = AuthServiceStub(served.channel())
    secret = await auth.key("viewer")
    answer = await stub.ExchangeToken(ExchangeTokenRequest(api_key=secret))
    published = MessageToDict(
        await stub.GetJwks(GetJwksRequest()), preserving_proto_field_name=True
    )

    assert (answer.token_type, answer.expires_in.ToTimedelta()) == (
        "Bearer",
        timedelta(minutes=10),
    )
    keys = jwt.PyJWKSet.from_dict(published)
    header = jwt.get_unverified_header(answer.access_token)
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    claims = jwt.decode(
        answer.access_token,
        keys[header["kid"]],
        algorithms=["EdDSA"],
        issuer="agentmesh",
        audience="agentmesh",
    )
    as_key = await AuthServiceStub(served.channel(secret)).WhoAmI(WhoAmIRequest())
    as_token = await AuthServiceStub(served.channel(answer.access_token)).WhoAmI(WhoAmIRequest())
    assert (claims["sub"], claims["tenant"]) == (as_key.subject, "acme")
    assert claims["scope"].split() == list(as_key.permissions) == list(as_token.permissions)
    assert "d" not in published["keys"][0]


async def test_a_token_never_outlives_its_key(auth: Replica, served: Served) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=90)
    secret = await auth.key("viewer", expire_time=expires)
    stub = AuthServiceStub(served.channel())
    answer = await stub.ExchangeToken(ExchangeTokenRequest(api_key=secret))
    assert timedelta(0) < answer.expires_in.ToTimedelta() <= timedelta(seconds=90)
    me = await AuthServiceStub(served.channel(answer.access_token)).WhoAmI(WhoAmIRequest())
    assert me.expire_time.ToDatetime(UTC) <= expires


async def test_replicas_that_start_at_once_agree_on_one_signing_key(
    service_database: ServiceDatabase,
) -> None:
    database = await service_database("auth")
    replicas = [replica(database) for _ in range(5)]
    kept = await asyncio.gather(*(each.tokens.signing_keys() for each in replicas))
    assert len({keys[0].id for keys in kept}) == 1
    assert all(len(keys) == 1 for keys in kept)

    first, second = replicas[:2]
    token = await first.tokens.exchange(await second.key("viewer"))
    assert (await second.verifier.verify(token.text)).tenant == "acme"


async def test_another_master_key_is_found_out(database: Database, auth: Replica) -> None:
    await check_master_key(database, auth.master)
    await auth.tokens.signing_keys()
    await check_master_key(database, auth.master)

    other = replica(database, "another master key of 32 characters")
    with pytest.raises(MasterKeyWrong, match="set AGENTMESH_AUTH__MASTER_KEY"):
        await check_master_key(database, other.master)
    with pytest.raises(Unauthenticated, match="The API key is unknown"):
        await other.verifier.verify(await auth.key("admin"))
    with pytest.raises(MasterKeyWrong):
        await other.tokens.exchange(await other.key("admin"))


async def test_the_public_keys_are_published_while_the_database_is_away(
    database: Database, auth: Replica, postgres: EmbeddedPostgres
) -> None:
    clock = ManualClock()
    tokens = Tokens(
        database, auth.master, auth.api_keys, issuer="i", audience="a", lifetime=60, clock=clock
    )
    keys = await tokens.published_keys()
    await database.close()
    await postgres.drop_database(str(database.url.database))
    clock.advance(60)
    assert await tokens.published_keys() == keys
    with pytest.raises(Unavailable):
        await tokens.signing_keys()
