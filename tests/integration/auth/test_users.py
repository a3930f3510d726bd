"""Administering users."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from mesh.auth.v1.user_pb2 import User
from mesh.auth.v1.user_service_pb2 import (
    CreatePasswordResetRequest,
    CreateUserRequest,
    DisableUserRequest,
    EnableUserRequest,
    EndSessionRequest,
    GetUserRequest,
    ListSessionsRequest,
    ListUsersRequest,
)
from meshkit.statuses import DETAILS_KEY
from meshkit.testing.refusals import refusal
from tests.integration.auth.people import ADA, PASSWORD, People

MISSING = "01890000-0000-7000-8000-000000000000"
BY_USER = {
    "GetUser": GetUserRequest,
    "DisableUser": DisableUserRequest,
    "EnableUser": EnableUserRequest,
    "CreatePasswordReset": CreatePasswordResetRequest,
    "ListSessions": ListSessionsRequest,
}


async def test_a_user_is_invited_chooses_a_password_and_signs_in(people: People) -> None:
    admin = await people.admin()
    made = await people.invite("Ada@Example.org")
    user = made.user
    assert (user.email, user.display_name) == ("Ada@Example.org", "Ada")
    assert (user.state, user.subject) == (User.STATE_INVITED, f"user:{user.id}")
    assert not user.HasField("last_login_time")
    kept = made.expire_time.ToDatetime(UTC) - user.create_time.ToDatetime(UTC)
    assert kept == timedelta(days=7)
    assert await admin.GetUser(GetUserRequest(user_id=user.id)) == user
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await people.sign_in()

    await people.choose(made.invitation)
    chosen = await admin.GetUser(GetUserRequest(user_id=user.id))
    assert (chosen.state, chosen.HasField("last_login_time")) == (User.STATE_ACTIVE, False)
    await people.sign_in("aDA@example.ORG")
    signed_in = await admin.GetUser(GetUserRequest(user_id=user.id))
    assert signed_in.last_login_time.ToDatetime() >= user.create_time.ToDatetime()


async def test_nothing_that_lets_somebody_in_is_stored(people: People) -> None:
    made = await people.invite()
    invited = str(await people.execute("SELECT password_tokens::text FROM password_tokens"))
    assert people.auth.master.digest(made.invitation).hex() in invited
    assert made.invitation[6:] not in invited
    await people.choose(made.invitation)
    pair = await people.sign_in()
    rows = str(await people.execute("SELECT u::text, s::text FROM users u, sessions s"))
    assert "$argon2id$" in rows
    assert PASSWORD not in rows
    assert pair.refresh_token[-43:] not in rows
    assert pair.refresh_token[-43:].encode().hex() not in rows
    assert people.auth.master.digest(pair.refresh_token).hex() in rows


async def test_an_address_is_taken_in_the_whole_mesh_whatever_its_case(people: People) -> None:
    await people.invite("ada@example.org")
    told = []
    for email, tenant in (("ADA@example.org", "acme"), ("ada@Example.org", "globex")):
        with pytest.raises(aio.AioRpcError) as refused:
            await people.invite(email, tenant)
        told.append(answer(refused.value))
        with refusal(StatusCode.ALREADY_EXISTS, "USER_EXISTS", "user.email"):
            await people.invite(email, tenant)
    assert told[0] == told[1]


async def test_of_many_who_create_an_address_at_once_one_succeeds(people: People) -> None:
    admin = await people.admin()
    request = CreateUserRequest(user=User(email=ADA))
    made = await asyncio.gather(
        *(admin.CreateUser(request) for _ in range(8)), return_exceptions=True
    )
    failures = [each for each in made if isinstance(each, aio.AioRpcError)]
    assert [each.code() for each in failures] == [StatusCode.ALREADY_EXISTS] * 7
    assert len((await admin.ListUsers(ListUsersRequest())).users) == 1


@pytest.mark.parametrize("email", ["", "ada", "ada@", "a" * 250 + "@x.org"])
async def test_only_addresses_are_addresses(people: People, email: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await people.invite(email)
    assert refused.value.code() == StatusCode.INVALID_ARGUMENT


async def test_users_are_listed_newest_first_by_pages_and_by_words(people: People) -> None:
    emails = [f"user{number}@example.org" for number in range(5)]
    for email in emails:
        await people.invite(email)
    await people.invite("user9@example.org", tenant="globex")
    admin = await people.admin()
    listed, token = [], ""
    while True:
        page = await admin.ListUsers(ListUsersRequest(page_size=2, page_token=token))
        listed += [user.email for user in page.users]
        token = page.next_page_token
        if not token:
            break
    assert listed == emails[::-1]

    async def found(query: str) -> list[str]:
        page = await admin.ListUsers(ListUsersRequest(query=query))
        return [user.email for user in page.users]

    assert await found("USER3@") == ["user3@example.org"]
    assert await found("aDa") == emails[::-1]
    assert await found("%") == []
    first = await admin.ListUsers(ListUsersRequest(page_size=1, query="user"))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
        await admin.ListUsers(ListUsersRequest(page_token=first.next_page_token, query="other"))


async def test_a_disabled_user_signs_in_again_once_enabled(people: People) -> None:
    user = await people.member()
    admin = await people.admin()
    pair = await people.sign_in()
    disabled = await admin.DisableUser(DisableUserRequest(user_id=user.id))
    assert disabled.state == User.STATE_DISABLED
    assert await admin.DisableUser(DisableUserRequest(user_id=user.id)) == disabled
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await people.sign_in()
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await people.refresh(pair.refresh_token)
    with refusal(StatusCode.FAILED_PRECONDITION, "USER_DISABLED", "user_id"):
        await admin.CreatePasswordReset(CreatePasswordResetRequest(user_id=user.id))

    for _ in range(2):
        enabled = await admin.EnableUser(EnableUserRequest(user_id=user.id))
        assert enabled.state == User.STATE_ACTIVE
    await people.sign_in()
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await people.refresh(pair.refresh_token)


async def test_an_invitation_ends_with_disabling_and_a_reset_takes_its_place(
    people: People,
) -> None:
    made = await people.invite()
    admin = await people.admin()
    await admin.DisableUser(DisableUserRequest(user_id=made.user.id))
    enabled = await admin.EnableUser(EnableUserRequest(user_id=made.user.id))
    assert enabled.state == User.STATE_INVITED
    with refusal(StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID"):
        await people.choose(made.invitation)
    reset = await admin.CreatePasswordReset(CreatePasswordResetRequest(user_id=made.user.id))
    await people.choose(reset.reset_token)
    await people.sign_in()


@pytest.mark.parametrize("rpc", BY_USER)
async def test_another_tenants_user_is_like_none(people: People, rpc: str) -> None:
    user = await people.member("admin")
    stranger = await people.admin("globex")
    refusals = await both(stranger, rpc, BY_USER[rpc], "user_id", user.id)
    assert refusals[0] == refusals[1]
    with refusal(StatusCode.NOT_FOUND, "USER_NOT_FOUND", "user_id"):
        await getattr(stranger, rpc)(BY_USER[rpc](user_id=user.id))
    await people.sign_in()


async def test_another_tenants_session_is_like_none(people: People) -> None:
    await people.member("viewer")
    pair = await people.sign_in()
    own = people.of(pair.access_token)
    session = (await own.ListSessions(ListSessionsRequest())).sessions[0]
    stranger = await people.admin("globex")
    refusals = await both(stranger, "EndSession", EndSessionRequest, "session_id", session.id)
    assert refusals[0] == refusals[1]
    with refusal(StatusCode.NOT_FOUND, "SESSION_NOT_FOUND", "session_id"):
        await stranger.EndSession(EndSessionRequest(session_id=session.id))
    await people.refresh(pair.refresh_token)


async def both(stub: Any, rpc: str, request: Any, field: str, known: str) -> list[Any]:
    """Return how a call is refused for an id that somebody has, and for one that nobody has."""
    refusals = []
    for each in (known, MISSING):
        with pytest.raises(aio.AioRpcError) as refused:
            await getattr(stub, rpc)(request(**{field: each}))
        refusals.append(answer(refused.value))
    return refusals


def answer(error: aio.AioRpcError) -> Any:
    """Return all that an error says but which request it belongs to."""
    trailing = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailing[DETAILS_KEY])
    details = [
        each.SerializeToString(deterministic=True)
        for each in status.details
        if not each.type_url.endswith("RequestInfo")
    ]
    return error.code(), error.details(), status.code, status.message, details
