"""Credentials for external services: kept sealed, and handed only to who calls out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio
from sqlalchemy import text
from structlog.testing import capture_logs

from mesh.auth.v1.credential_pb2 import (
    BearerToken,
    ClientCertificate,
    HeaderKey,
    OAuth2ClientCredentials,
    ServiceCredential,
)
from meshkit.database.engine import Database
from meshkit.statuses import DETAILS_KEY
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from tests.certificates import certificate, new_key, private_key
from tests.integration.auth.replicas import Replica
from tests.integration.auth.service_credentials import (
    KEY,
    KINDS,
    SECRET,
    Caller,
    service,
    without_secret,
)

by_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def admin(auth: Replica, served: Served) -> Caller:
    return Caller(served.channel(await auth.key("admin")))


@pytest.fixture
async def stranger(auth: Replica, served: Served) -> Caller:
    return Caller(served.channel(await auth.key("admin", tenant="umbrella")))


@pytest.fixture
async def caller_out(auth: Replica, served: Served) -> Caller:
    return await service(auth, served, "tool_catalog", "acme")


@pytest.fixture(autouse=True)
async def nothing_is_logged() -> AsyncIterator[None]:
    """No log line of any test here holds a secret."""
    with capture_logs() as lines:
        yield
    assert SECRET not in str(lines)
    assert "PRIVATE KEY" not in str(lines)


async def execute(database: Database, statement: str) -> list[Any]:
    async def work(tx: Any) -> list[Any]:
        result = await tx.execute(text(statement))
        return list(result.all()) if result.returns_rows else []

    return await database.transaction(work)


@by_kind
async def test_only_who_calls_out_is_given_the_secret(
    admin: Caller, caller_out: Caller, database: Database, kind: str
) -> None:
    stored = await admin.put("crm", **KINDS[kind])
    assert stored.update_time == stored.create_time
    wanted = ServiceCredential(
        name="crm",
        create_time=stored.create_time,
        update_time=stored.update_time,
        **KINDS[kind],
    )
    assert stored == without_secret(wanted)
    assert stored.WhichOneof("auth") == wanted.WhichOneof("auth")
    assert await admin.get("crm") == stored
    assert await admin.page(1) == ([stored], "")
    assert await caller_out.resolve("crm") == wanted

    row = str(await execute(database, "SELECT service_credentials::text FROM service_credentials"))
    assert SECRET not in row
    assert SECRET.encode().hex() not in row
    assert "PRIVATE" not in row


async def test_a_put_takes_the_place_of_the_earlier_one(admin: Caller, caller_out: Caller) -> None:
    first = await admin.put("crm", **KINDS["oauth2"])
    second = await admin.put("crm", **KINDS["bearer"])
    again = await admin.put("crm", **KINDS["bearer"])
    assert first.create_time == second.create_time == again.create_time
    assert first.update_time.ToNanoseconds() < second.update_time.ToNanoseconds()
    assert (await caller_out.resolve("crm")).bearer.token == SECRET
    assert len((await admin.page(10))[0]) == 1


async def test_deleting_may_be_repeated(
    admin: Caller, stranger: Caller, caller_out: Caller
) -> None:
    await admin.put("crm", **KINDS["bearer"])
    await stranger.delete("crm")
    assert (await caller_out.resolve("crm")).bearer.token == SECRET
    await admin.delete("crm")
    await admin.delete("crm")
    for call in (admin.get("crm"), caller_out.resolve("crm")):
        with refusal(StatusCode.NOT_FOUND, "SERVICE_CREDENTIAL_NOT_FOUND", "name"):
            await call


async def test_they_are_listed_by_name_and_page_within_the_tenant(
    admin: Caller, stranger: Caller
) -> None:
    for name in ("c", "a.b", "a-b", "b", "a_b"):
        await admin.put(name, **KINDS["bearer"])
    await stranger.put("d")
    names: list[list[str]] = []
    token = ""
    while not names or token:
        page, token = await admin.page(2, token)
        names.append([each.name for each in page])
    assert names == [["a-b", "a.b"], ["a_b", "b"], ["c"]]
    assert [each.name for each in (await stranger.page(0))[0]] == ["d"]

    _, token = await admin.page(2)
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await stranger.page(2, token)


async def test_another_tenants_credential_answers_byte_for_byte_as_a_missing_one(
    auth: Replica, served: Served, admin: Caller, stranger: Caller
) -> None:
    await admin.put("crm", **KINDS["bearer"])
    elsewhere = await service(auth, served, "tool_catalog", "umbrella")
    for ask in (stranger.get, elsewhere.resolve):
        assert await refused(ask("crm")) == await refused(ask("erp"))


async def refused(call: Any) -> tuple[Any, ...]:
    with pytest.raises(aio.AioRpcError) as error:
        await call
    trailers = dict(error.value.trailing_metadata() or ())
    status = Status.FromString(bytes(trailers.pop(DETAILS_KEY)))
    kept = [bytes(each.value) for each in status.details if not each.Is(RequestInfo.DESCRIPTOR)]
    return error.value.code(), error.value.details(), kept, sorted(trailers)


async def test_nobody_else_is_given_a_secret(
    auth: Replica, served: Served, admin: Caller, caller_out: Caller
) -> None:
    await admin.put("crm", **KINDS["bearer"])
    forged = await auth.sign({"sub": "service:tool_catalog", "scope": "mesh:delegate *"})
    callers = {
        "an admin": admin,
        "a service that acts for nobody": await service(auth, served, "tool_catalog", ""),
        "a service that calls nobody": await service(auth, served, "registry", "acme"),
        "without mesh:credential": Caller(served.channel(forged), "acme"),
    }
    for name, caller in callers.items():
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await caller.resolve("crm")
            raise AssertionError(name)
    assert (await caller_out.resolve("crm")).bearer.token == SECRET


@pytest.mark.parametrize(
    "tampering",
    [
        "SET sealed_secret = set_byte(this.sealed_secret, 9, get_byte(this.sealed_secret, 9) # 1)",
        "SET sealed_key = set_byte(this.sealed_key, 0, get_byte(this.sealed_key, 0) # 128)",
        "SET sealed_key = ''",
        "SET sealed_secret = other.sealed_secret",
        "SET sealed_key = other.sealed_key",
        "SET sealed_key = other.sealed_key, sealed_secret = other.sealed_secret",
        "SET settings = jsonb_set(this.settings, '{token_url}', '\"https://evil.example.com/\"')",
        "SET kind = 'none', settings = '{}'",
        "SET kind = 'bearer', settings = '{}'",
        "SET tenant = 'umbrella'",
    ],
)
async def test_what_was_altered_or_moved_is_not_handed_out(
    auth: Replica, served: Served, admin: Caller, database: Database, tampering: str
) -> None:
    await admin.put("crm", **KINDS["oauth2"])
    await admin.put("erp", **KINDS["oauth2"])
    tenant = "umbrella" if "tenant" in tampering else "acme"
    caller = await service(auth, served, "tool_catalog", tenant)
    await execute(
        database,
        f"UPDATE service_credentials this {tampering} FROM service_credentials other"
        " WHERE this.name = 'crm' AND other.name = 'erp'",
    )
    with pytest.raises(aio.AioRpcError) as failed:
        await caller.resolve("crm")
    assert failed.value.code() is StatusCode.INTERNAL
    words = failed.value.details() or ""
    assert words.startswith("Something went wrong inside; quote request id")
    assert "seal" not in words
    with refusal(StatusCode.NOT_FOUND, "SERVICE_CREDENTIAL_NOT_FOUND", "name"):
        await caller.resolve("none")


@pytest.mark.parametrize(
    ("name", "auth_", "field"),
    [
        ("", {}, "name"),
        ("Crm", {}, "name"),
        ("crm", {"api_key": HeaderKey(header="x-key")}, "api_key.key"),
        ("crm", {"api_key": HeaderKey(key=SECRET)}, "api_key.header"),
        ("crm", {"api_key": HeaderKey(header="x\ny", key=SECRET)}, "api_key.header"),
        ("crm", {"bearer": BearerToken()}, "bearer.token"),
        ("crm", {"bearer": BearerToken(token=f"{SECRET}\n")}, "bearer.token"),
        (
            "crm",
            {
                "oauth2": OAuth2ClientCredentials(
                    token_url="http://login.example.com", client_id="a", client_secret=SECRET
                )
            },
            "oauth2.token_url",
        ),
        (
            "crm",
            {"oauth2": OAuth2ClientCredentials(token_url="https://example.com", client_id="a")},
            "oauth2.client_secret",
        ),
        (
            "crm",
            {
                "mtls": ClientCertificate(
                    certificate_chain=certificate(KEY), private_key=private_key(new_key())
                )
            },
            "mtls.private_key",
        ),
        (
            "crm",
            {"mtls": ClientCertificate(certificate_chain="x", private_key=private_key(KEY))},
            "mtls.certificate_chain",
        ),
        ("crm", {"mtls": ClientCertificate(certificate_chain="x")}, "mtls.private_key"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field_and_not_stored(
    admin: Caller, name: str, auth_: dict[str, Any], field: str
) -> None:
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", f"service_credential.{field}"):
        await admin.put(name, **auth_)
    assert await admin.page(1) == ([], "")
