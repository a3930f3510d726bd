"""Making, showing, checking and revoking API keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio
from sqlalchemy import text

from mesh.auth.v1.api_key_pb2 import ApiKey
from mesh.auth.v1.auth_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    ExchangeTokenRequest,
    GetApiKeyRequest,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
    VerifyApiKeyRequest,
    WhoAmIRequest,
)
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from meshkit.database.engine import Database
from meshkit.statuses import DETAILS_KEY
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from services.auth.domain.roles import BUILT_IN, permissions_of
from tests.integration.auth.conftest import As
from tests.integration.auth.replicas import Replica, replica

MISSING = "01890000-0000-7000-8000-000000000000"
BY_ID = {
    "GetApiKey": GetApiKeyRequest,
    "RevokeApiKey": RevokeApiKeyRequest,
}


async def create(
    stub: AuthServiceStub, *roles: str, name: str = "a key", expires: datetime | None = None
) -> CreateApiKeyResponse:
    wanted = ApiKey(display_name=name, roles=roles, id="ignored", creator="ignored")
    if expires:
        wanted.expire_time.FromDatetime(expires)
    return await stub.CreateApiKey(CreateApiKeyRequest(api_key=wanted))


async def execute(database: Database, statement: str) -> Any:
    async def work(tx: Any) -> Any:
        result = await tx.execute(text(statement))
        return result.all() if result.returns_rows else None

    return await database.transaction(work)


async def test_a_key_is_shown_once_and_kept_as_a_digest(as_role: As, auth: Replica) -> None:
    admin = await as_role("admin")
    made = await create(admin, "viewer", "agent", name="counts words")

    assert re.fullmatch(rf"mesh_test_{made.api_key.id.replace('-', '')}_.{{51}}", made.secret)
    key = made.api_key
    assert (key.display_name, list(key.roles)) == ("counts words", ["viewer", "agent"])
    assert key.subject == f"key:{key.id}"
    assert key.creator.startswith("key:")
    assert not key.HasField("expire_time")
    assert not key.HasField("revoke_time")
    assert await admin.GetApiKey(GetApiKeyRequest(api_key_id=key.id)) == key

    secret = made.secret.split("_", 3)[3][:43]
    rows = str(await execute(auth.database, "SELECT api_keys::text FROM api_keys"))
    stored = str(await execute(auth.database, "SELECT digest FROM api_keys"))
    assert secret not in rows + stored
    assert secret.encode().hex() not in rows
    assert auth.master.digest(secret).hex() in rows


async def test_a_key_speaks_for_itself_in_either_header(as_role: As, served: Served) -> None:
    made = await create(await as_role("admin"), "viewer")
    for metadata in ((("x-api-key", made.secret),), (("authorization", f"Bearer {made.secret}"),)):
        stub = AuthServiceStub(served.channel())
        me = await stub.WhoAmI(WhoAmIRequest(), metadata=metadata)
        assert (me.subject, me.tenant) == (made.api_key.subject, "acme")
        assert list(me.permissions) == list(permissions_of(["viewer"]))


async def test_a_service_learns_whom_a_key_speaks_for(as_role: As) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    made = await create(await as_role("admin", tenant="umbrella"), "agent", expires=expires)
    service = await as_role("service", tenant="mesh")
    principal = await service.VerifyApiKey(VerifyApiKeyRequest(api_key=made.secret))
    assert (principal.subject, principal.tenant) == (made.api_key.subject, "umbrella")
    assert principal.expire_time.ToDatetime(UTC) == expires
    assert list(principal.permissions) == list(permissions_of(["agent"]))


@pytest.mark.parametrize("spoilt", ["revoked", "expired", "unknown", "altered", "malformed"])
async def test_a_key_that_is_no_good_is_refused_the_same_everywhere(
    as_role: As, auth: Replica, served: Served, spoilt: str
) -> None:
    admin, service = await as_role("admin"), await as_role("service", tenant="mesh")
    made = await create(admin, "viewer", expires=datetime.now(UTC) + timedelta(hours=1))
    secret = made.secret
    if spoilt == "revoked":
        await admin.RevokeApiKey(RevokeApiKeyRequest(api_key_id=made.api_key.id))
    elif spoilt == "expired":
        await execute(auth.database, "UPDATE api_keys SET expire_time = now()")
        service = await as_role("service", tenant="mesh")
    elif spoilt == "unknown":
        await execute(auth.database, "DELETE FROM api_keys WHERE roles = '{viewer}'")
    elif spoilt == "altered":
        secret = await replica(auth.database, "another master key of 32 characters").key("viewer")
    else:
        secret = made.secret[:-1]

    messages = set()
    for call in (
        service.VerifyApiKey(VerifyApiKeyRequest(api_key=secret)),
        AuthServiceStub(served.channel()).ExchangeToken(ExchangeTokenRequest(api_key=secret)),
        AuthServiceStub(served.channel(secret)).WhoAmI(WhoAmIRequest()),
    ):
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is StatusCode.UNAUTHENTICATED
        messages.add(refused.value.details())
    assert messages == {"The API key is unknown, expired or revoked; use another one."}


async def test_revoking_is_for_good_and_may_be_repeated(as_role: As) -> None:
    admin = await as_role("admin")
    made = await create(admin, "viewer")
    request = RevokeApiKeyRequest(api_key_id=made.api_key.id)
    revoked = await admin.RevokeApiKey(request)
    assert revoked.HasField("revoke_time")
    assert await admin.RevokeApiKey(request) == revoked
    assert await admin.GetApiKey(GetApiKeyRequest(api_key_id=revoked.id)) == revoked


async def test_keys_are_listed_by_page_within_the_tenant(as_role: As) -> None:
    admin, stranger = await as_role("admin"), await as_role("admin", tenant="umbrella")
    made = [(await create(admin, "viewer")).api_key.id for _ in range(4)]
    first = await admin.ListApiKeys(ListApiKeysRequest(page_size=3))
    rest = await admin.ListApiKeys(
        ListApiKeysRequest(page_size=3, page_token=first.next_page_token)
    )
    listed = [each.id for page in (first, rest) for each in page.api_keys]
    assert listed == sorted(listed, reverse=True)
    assert set(made) < set(listed)
    assert len(listed) == 5
    assert not rest.next_page_token

    assert len((await stranger.ListApiKeys(ListApiKeysRequest())).api_keys) == 1
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await stranger.ListApiKeys(ListApiKeysRequest(page_token=first.next_page_token))


@pytest.mark.parametrize("method", BY_ID)
async def test_another_tenants_key_answers_byte_for_byte_as_a_missing_one(
    as_role: As, auth: Replica, method: str
) -> None:
    made = (await create(await as_role("admin"), "viewer")).api_key
    stranger = await as_role("admin", tenant="umbrella")
    answers = set()
    for key_id in (made.id, MISSING):
        with pytest.raises(aio.AioRpcError) as refused:
            await getattr(stranger, method)(BY_ID[method](api_key_id=key_id))
        answers.add(_without_request_id(refused.value))
    assert len(answers) == 1
    assert "API_KEY_NOT_FOUND" in answers.pop()
    assert (await auth.api_keys.get("acme", UUID(made.id))).revoke_time is None


def _without_request_id(error: aio.AioRpcError) -> str:
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(bytes(trailers.pop(DETAILS_KEY)))
    kept = [each for each in status.details if not each.Is(RequestInfo.DESCRIPTOR)]
    del status.details[:]
    status.details.extend(kept)
    return f"{error.code()} {error.details()} {status} {sorted(trailers)}"


@pytest.mark.parametrize("role", [None, *BUILT_IN])
async def test_nobody_hands_out_more_than_it_holds(as_role: As, role: str | None) -> None:
    admin = await as_role("admin")
    if role in (None, "service", "platform"):
        with refusal(StatusCode.PERMISSION_DENIED, "ROLE_NOT_HELD", "api_key.roles"):
            await create(admin, "viewer", role or "service")
        return
    await create(admin, role)
    caller = await as_role(role)
    if role != "admin":
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await create(caller, role)


async def test_who_may_make_keys_still_makes_none_above_itself(
    auth: Replica, served: Served
) -> None:
    scope = f"key:create {' '.join(permissions_of(['operator']))}"
    token = await auth.sign({"scope": scope})
    maker = AuthServiceStub(served.channel(token))
    for role in ("operator", "viewer", "analyst"):
        assert (await create(maker, role)).secret
    for role in ("admin", "service"):
        with refusal(StatusCode.PERMISSION_DENIED, "ROLE_NOT_HELD", "api_key.roles"):
            await create(maker, "viewer", role)
    with refusal(StatusCode.PERMISSION_DENIED, "ROLE_NOT_HELD", "api_key.roles"):
        await create(AuthServiceStub(served.channel(await auth.sign())), "service")


@pytest.mark.parametrize(
    ("key", "reason", "field"),
    [
        (ApiKey(roles=["viewer"]), "INVALID_ARGUMENT", "display_name"),
        (ApiKey(display_name="x" * 129, roles=["viewer"]), "INVALID_ARGUMENT", "display_name"),
        (ApiKey(display_name="a\0b", roles=["viewer"]), "INVALID_ARGUMENT", "display_name"),
        (ApiKey(display_name="a"), "INVALID_ARGUMENT", "roles"),
        (ApiKey(display_name="a", roles=["viewer"] * 2), "INVALID_ARGUMENT", "roles"),
        (ApiKey(display_name="a", roles=["Viewer"]), "INVALID_ARGUMENT", "roles[0]"),
        (ApiKey(display_name="a", roles=["emperor"]), "ROLE_UNKNOWN", "roles"),
        (
            ApiKey(display_name="a", roles=["viewer"], expire_time=Timestamp(seconds=1)),
            "INVALID_ARGUMENT",
            "expire_time",
        ),
        (
            ApiKey(display_name="a", roles=["viewer"], expire_time=Timestamp(seconds=1 << 60)),
            "INVALID_ARGUMENT",
            "expire_time",
        ),
    ],
)
async def test_a_bad_key_is_refused_by_its_field_and_not_stored(
    as_role: As, key: ApiKey, reason: str, field: str
) -> None:
    admin = await as_role("admin")
    with refusal(StatusCode.INVALID_ARGUMENT, reason, f"api_key.{field}"):
        await admin.CreateApiKey(CreateApiKeyRequest(api_key=key))
    assert len((await admin.ListApiKeys(ListApiKeysRequest())).api_keys) == 1


async def test_an_id_that_is_none_is_refused(as_role: As) -> None:
    admin = await as_role("admin")
    for bad in ("", "x", MISSING[:-1]):
        with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "api_key_id"):
            await admin.GetApiKey(GetApiKeyRequest(api_key_id=bad))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "api_key"):
        await admin.CreateApiKey(CreateApiKeyRequest())
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "api_key"):
        await admin.ExchangeToken(ExchangeTokenRequest(api_key="x" * 257))
