"""What is revoked at one replica is refused by every service at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from grpc import StatusCode
from pydantic import SecretStr
from sqlalchemy import text

from mesh.auth.v1 import auth_service_pb2, role_pb2, role_service_pb2
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from mesh.auth.v1.role_service_pb2_grpc import RoleServiceStub
from meshkit.database.engine import Database
from meshkit.errors import Unauthenticated
from meshkit.security.identity import Identity
from meshkit.security.principal import Principal
from meshkit.security.revocations import Revocation
from meshkit.settings import IdentitySettings, PeerSettings
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served, serving_all
from tests.integration.auth.replicas import Replica, replica
from tests.waiting import until_true


@pytest.fixture
async def other_replica(database: Database) -> AsyncIterator[Served]:
    """Serve another replica of auth on the same database."""
    other = replica(database)
    async with serving_all(other.add_to, other.verifier, beside=other.background()) as served:
        yield served


@pytest.fixture
async def service(auth: Replica, other_replica: Served) -> AsyncIterator[Identity]:
    """Be a service that holds on to the other replica, and trusts what it was told for long."""
    key = await auth.key("service", tenant="mesh", subject="service:task")
    settings = IdentitySettings(api_key=SecretStr(key), cache_seconds=3600, stale_seconds=3600)
    identity = Identity(settings, PeerSettings(auth=other_replica.address))
    identity.start()
    yield identity
    await identity.close()


@pytest.fixture
async def admin(auth: Replica, served: Served) -> AuthServiceStub:
    return AuthServiceStub(served.channel(await auth.key("admin")))


async def token_of(stub: AuthServiceStub, key: str) -> str:
    request = auth_service_pb2.ExchangeTokenRequest(api_key=key)
    return (await stub.ExchangeToken(request)).access_token


async def is_refused(service: Identity, credential: str) -> bool:
    try:
        await service.verifier.verify(credential)
    except Unauthenticated:
        return True
    return False


def id_of(key: str) -> str:
    return str(UUID(key.split("_")[2]))


async def test_a_revoked_key_and_its_tokens_are_refused_everywhere(
    auth: Replica, admin: AuthServiceStub, service: Identity
) -> None:
    key, bystander = await auth.key("viewer"), await auth.key("viewer")
    token, spare = await token_of(admin, key), await token_of(admin, key)
    for credential in (key, token, bystander):
        assert not await is_refused(service, credential)
    await admin.RevokeApiKey(auth_service_pb2.RevokeApiKeyRequest(api_key_id=id_of(key)))

    async def ended() -> bool:
        return await is_refused(service, key) and await is_refused(service, token)

    await until_true(ended)
    # One that was never seen before the revocation, too, and at auth itself.
    assert await is_refused(service, spare)
    assert not await is_refused(service, bystander)

    async def ended_at_auth() -> bool:
        try:
            await auth.own_verifier.tokens.verify(token)
        except Unauthenticated:
            return True
        return False

    await until_true(ended_at_auth)


async def test_what_roles_change_is_known_everywhere(
    auth: Replica, admin: AuthServiceStub, service: Identity, served: Served
) -> None:
    roles = RoleServiceStub(served.channel(await auth.key("admin")))
    key = await auth.key("viewer")
    token = await token_of(admin, key)
    subject = f"key:{(await service.verifier.verify(key)).credential_id}"
    assert not await is_refused(service, token)
    binding = role_pb2.RoleBinding(subject=subject, role="operator")
    await roles.CreateRoleBinding(role_service_pb2.CreateRoleBindingRequest(role_binding=binding))

    async def may_create() -> bool:
        return (await service.verifier.verify(key)).may("task:create")

    await until_true(may_create)
    # The token still says what was allowed before; a new one says what is.
    assert await is_refused(service, token)

    async def works_anew() -> bool:
        return not await is_refused(service, await token_of(admin, key))

    await until_true(works_anew)


async def test_who_begins_to_listen_hears_first_what_was_revoked_lately(
    auth: Replica, admin: AuthServiceStub, database: Database
) -> None:
    recent, old = await auth.key("viewer"), await auth.key("viewer")
    for key in (old, recent):
        await admin.RevokeApiKey(auth_service_pb2.RevokeApiKeyRequest(api_key_id=id_of(key)))
    statement = text("UPDATE revocations SET not_before = now() - interval '3 h' WHERE id = 1")
    await database.transaction(lambda tx: tx.execute(statement))
    heard: list[Revocation] = []
    async for part in auth.revocations.follow():
        heard.extend(part)
        break
    [only] = heard
    assert only.credential == id_of(recent)
    assert only.not_before > datetime.now(UTC)


async def test_a_key_that_is_rerolled_has_its_grace(auth: Replica, admin: AuthServiceStub) -> None:
    old = await auth.key("viewer", scopes=("self:read", "task:read"))
    request = auth_service_pb2.RerollApiKeyRequest(api_key_id=id_of(old))
    request.grace.FromTimedelta(timedelta(hours=1))
    made = await admin.RerollApiKey(request)
    assert made.api_key.rerolled_from == id_of(old)
    before, after = await auth.verifier.verify(old), await auth.verifier.verify(made.secret)
    assert (after.subject, after.permissions) == (before.subject, before.permissions)
    assert after.credential_id != before.credential_id
    assert before.expires_at is not None
    assert timedelta(minutes=59) < before.expires_at - datetime.now(UTC) < timedelta(minutes=61)
    assert after.expires_at is None
    # Without a grace it ends at once, and what has ended is not rerolled.
    at_once = auth_service_pb2.RerollApiKeyRequest(api_key_id=made.api_key.id)
    await admin.RerollApiKey(at_once)
    with pytest.raises(Unauthenticated):
        await auth.verifier.verify(made.secret)
    with refusal(StatusCode.NOT_FOUND, "API_KEY_NOT_FOUND", "api_key_id"):
        await admin.RerollApiKey(at_once)


async def test_nobody_rerolls_a_key_that_may_do_more(auth: Replica, served: Served) -> None:
    token = await auth.sign({"scope": "key:create self:read task:read"})
    maker = AuthServiceStub(served.channel(token))
    roles = RoleServiceStub(served.channel(await auth.key("admin")))
    await roles.CreateRole(
        role_service_pb2.CreateRoleRequest(
            role=role_pb2.Role(name="reader", permissions=["task:read"])
        )
    )
    plain, bound = await auth.key("reader"), await auth.key("reader")
    roaming = await auth.key("reader", tenants=("umbrella",))
    binding = role_pb2.RoleBinding(subject=f"key:{id_of(bound)}", role="admin")
    await roles.CreateRoleBinding(role_service_pb2.CreateRoleBindingRequest(role_binding=binding))
    refused = ((bound, "ROLE_NOT_HELD"), (roaming, "PERMISSION_DENIED"))
    for key, reason in refused:
        with refusal(StatusCode.PERMISSION_DENIED, reason, "api_key_id"):
            await maker.RerollApiKey(auth_service_pb2.RerollApiKeyRequest(api_key_id=id_of(key)))
        # It still works, for nothing has happened.
        await auth.verifier.verify(key)
    await maker.RerollApiKey(auth_service_pb2.RerollApiKeyRequest(api_key_id=id_of(plain)))


async def test_uses_are_counted_in_batches(
    auth: Replica, admin: AuthServiceStub, service: Identity
) -> None:
    key = await auth.key("viewer")
    for _ in range(3):
        await service.verifier.verify(key)
    assert (
        await admin.GetApiKey(auth_service_pb2.GetApiKeyRequest(api_key_id=id_of(key)))
    ).use_count == 0
    await service.close()
    seen = await admin.GetApiKey(auth_service_pb2.GetApiKeyRequest(api_key_id=id_of(key)))
    assert seen.use_count == 3
    assert abs((seen.last_used_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()) < 60


async def test_uses_at_auth_itself_are_counted_too(auth: Replica, admin: AuthServiceStub) -> None:
    me = await admin.WhoAmI(auth_service_pb2.WhoAmIRequest())
    await auth.counted_keys.store()
    wanted = auth_service_pb2.GetApiKeyRequest(api_key_id=me.credential_id)
    assert (await admin.GetApiKey(wanted)).use_count == 1


async def test_an_agent_acts_for_a_principal(
    auth: Replica, admin: AuthServiceStub, served: Served, service: Identity
) -> None:
    agent, person = await auth.key("agent"), await auth.key("viewer")
    stub = AuthServiceStub(served.channel(agent))
    subject_token = await token_of(admin, person)
    answer = await stub.DelegateToken(
        auth_service_pb2.DelegateTokenRequest(subject_token=subject_token)
    )
    principal = await service.verifier.verify(answer.access_token)
    me, them = await auth.verifier.verify(agent), await auth.verifier.verify(person)
    assert (principal.subject, principal.actors) == (them.subject, (me.subject,))
    both = {"task:read", "agent:read", "tool:read", "blob:read", "self:read"}
    assert set(principal.permissions) == both
    narrow = await stub.DelegateToken(
        auth_service_pb2.DelegateTokenRequest(subject_token=subject_token, scopes=["task:*"])
    )
    assert (await service.verifier.verify(narrow.access_token)).permissions == ("task:read",)
    for scopes in (["tool:create"], ["key:create"]):
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await stub.DelegateToken(
                auth_service_pb2.DelegateTokenRequest(subject_token=subject_token, scopes=scopes)
            )
    stranger = await auth.key("viewer", tenant="umbrella")
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await stub.DelegateToken(
            auth_service_pb2.DelegateTokenRequest(subject_token=await token_of(admin, stranger))
        )
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID", "subject_token"):
        await stub.DelegateToken(auth_service_pb2.DelegateTokenRequest(subject_token="no token"))
    # It ends with the credential of either.
    await admin.RevokeApiKey(auth_service_pb2.RevokeApiKeyRequest(api_key_id=id_of(agent)))

    async def ended() -> bool:
        return await is_refused(service, answer.access_token)

    await until_true(ended)


async def test_the_next_signing_key_is_published_before_it_signs(
    auth: Replica, admin: AuthServiceStub, database: Database, service: Identity
) -> None:
    key = await auth.key("viewer")
    before = await token_of(admin, key)
    made = await auth.tokens.rotate()
    assert await auth.tokens.rotate() == made
    published = await admin.GetJwks(auth_service_pb2.GetJwksRequest())
    assert published.keys[0].kid == made.id
    assert len(published.keys) == 2
    # It signs once its time has come, and what the old one signed still works.
    statement = text("UPDATE signing_keys SET sign_time = now() - interval '1 s' WHERE id = :id")
    await database.transaction(lambda tx: tx.execute(statement, {"id": made.id}))
    anew = replica(database)
    after = (await anew.tokens.sign(Principal("key:x", "acme", ()), datetime.now(UTC))).text
    assert not await is_refused(service, before)
    assert not await is_refused(service, after)
    # Once no token of it can live any more the old one goes.
    statement = text("UPDATE signing_keys SET sign_time = sign_time - interval '1 day'")
    await database.transaction(lambda tx: tx.execute(statement))
    await anew.tokens.keep_fresh()
    assert [each.id for each in await anew.tokens.signing_keys()] == [made.id]
