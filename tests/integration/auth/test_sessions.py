"""Sessions: opened by a sign-in, kept up by refresh tokens, ended everywhere at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from grpc import StatusCode

from mesh.auth.v1.user_pb2 import Session
from mesh.auth.v1.user_service_pb2 import (
    DisableUserRequest,
    EndSessionRequest,
    ListSessionsRequest,
    LoginRequest,
    LogoutRequest,
    TokenPair,
)
from mesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.auth.people import People
from tests.integration.auth.test_passwords import refused_soon

REFUSED = (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")
REUSED = (StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
DAY = 86_400


async def sessions(stub: UserServiceStub, user_id: str = "") -> list[Session]:
    return list((await stub.ListSessions(ListSessionsRequest(user_id=user_id))).sessions)


async def test_a_sign_in_gives_a_pair_that_speaks_for_the_user(people: People) -> None:
    user = await people.member("viewer")
    pair = await people.sign_in()
    assert pair.token_type == "Bearer"
    assert pair.expires_in.ToTimedelta() == timedelta(minutes=10)
    assert pair.refresh_expires_in.ToTimedelta() == timedelta(days=7)
    me = await people.who_is(pair.access_token)
    assert (me.subject, me.tenant) == (user.subject, "acme")
    assert "task:read" in me.permissions
    (session,) = await sessions(people.of(pair.access_token))
    assert pair.refresh_token.startswith(f"meshr_{session.id.replace('-', '')}_")
    assert session.user_id == user.id


async def test_a_session_says_where_it_came_from(people: People) -> None:
    await people.member("viewer")
    request = LoginRequest(email="ada@example.org", password="correct horse battery")
    forwarded = (("x-forwarded-for", "6.6.6.6, 203.0.113.9"),)
    pair = await people.anybody.Login(request, metadata=forwarded)
    await people.sign_in()
    direct, proxied = await sessions(people.of(pair.access_token))
    assert proxied.address == "203.0.113.9"
    assert direct.address == "127.0.0.1"
    assert "grpc-python" in direct.user_agent


async def test_each_refresh_gives_a_new_pair(people: People) -> None:
    await people.member("viewer")
    first = await people.sign_in()
    second = await people.refresh(first.refresh_token)
    third = await people.refresh(second.refresh_token)
    tokens = {first.refresh_token, second.refresh_token, third.refresh_token}
    assert len(tokens) == 3
    (session,) = await sessions(people.of(third.access_token))
    assert session.refresh_time.ToDatetime() > session.create_time.ToDatetime()


@pytest.mark.parametrize("arrived", [0, 1])
async def test_the_latest_one_used_works_again_while_its_answer_may_be_lost(
    people: People, arrived: int
) -> None:
    await people.member("viewer")
    first = await people.sign_in()
    answers = [await people.refresh(first.refresh_token)]
    await people.pass_time(9)
    answers.append(await people.refresh(first.refresh_token))
    await people.pass_time(3600)
    await people.refresh(answers[arrived].refresh_token)
    with refusal(*REUSED):
        await people.refresh(answers[1 - arrived].refresh_token)


async def test_reuse_after_the_grace_ends_the_session(people: People) -> None:
    await people.member("viewer")
    first = await people.sign_in()
    second = await people.refresh(first.refresh_token)
    await people.who_is(second.access_token)
    await people.pass_time(11)
    for token in (first, second, first):
        with refusal(*REUSED):
            await people.refresh(token.refresh_token)
    await refused_soon(people, second.access_token)
    await refused_soon(people, first.access_token)
    await people.sign_in()


async def test_reuse_of_an_older_one_ends_the_session_even_at_once(people: People) -> None:
    await people.member("viewer")
    first = await people.sign_in()
    second = await people.refresh(first.refresh_token)
    third = await people.refresh(second.refresh_token)
    for token in (first, third):
        with refusal(*REUSED):
            await people.refresh(token.refresh_token)


@pytest.mark.parametrize("kept", [0, 1])
async def test_two_that_refresh_at_once_both_get_a_pair(people: People, kept: int) -> None:
    await people.member("viewer")
    first = await people.sign_in()
    pairs = await asyncio.gather(
        people.refresh(first.refresh_token), people.refresh(first.refresh_token)
    )
    assert pairs[0].refresh_token != pairs[1].refresh_token
    for pair in pairs:
        assert (await people.who_is(pair.access_token)).subject.startswith("user:")
    # Whichever of the two wins in what they keep their tokens in.
    await people.pass_time(600)
    pair = await people.refresh(pairs[kept].refresh_token)
    await people.pass_time(600)
    await people.refresh(pair.refresh_token)
    assert len(await sessions(people.of(pair.access_token))) == 1


async def test_a_token_that_was_never_issued_ends_nothing(people: People) -> None:
    await people.member("viewer")
    pair = await people.sign_in()
    forged = pair.refresh_token[:-43] + "A" * 43
    for text in (forged, "meshr_x", "x"):
        with refusal(*REFUSED):
            await people.refresh(text)
        await people.anybody.Logout(LogoutRequest(refresh_token=text))
    await people.refresh(pair.refresh_token)


async def test_a_session_that_is_not_refreshed_ends(people: People) -> None:
    await people.member("viewer")
    pair = await people.sign_in()
    await people.pass_time(7 * DAY - 60)
    pair = await people.refresh(pair.refresh_token)
    await people.pass_time(7 * DAY)
    with refusal(*REFUSED):
        await people.refresh(pair.refresh_token)
    assert await sessions(people.of((await people.sign_in()).access_token)) != []


async def test_a_session_ends_a_month_after_its_sign_in_however_it_is_refreshed(
    people: People,
) -> None:
    await people.member("viewer")
    pair = await people.sign_in()
    for _ in range(4):
        await people.pass_time(6 * DAY)
        pair = await people.refresh(pair.refresh_token)
    await people.pass_time(6 * DAY - 60)
    pair = await people.refresh(pair.refresh_token)
    left = pair.refresh_expires_in.ToTimedelta()
    assert timedelta(0) < left <= timedelta(seconds=60)
    assert abs(pair.expires_in.ToTimedelta() - left) < timedelta(seconds=1)
    await people.pass_time(60)
    with refusal(*REFUSED):
        await people.refresh(pair.refresh_token)


async def test_signing_out_ends_the_session_at_once_and_again_does_no_harm(
    people: People,
) -> None:
    await people.member("viewer")
    pair, other = await people.sign_in(), await people.sign_in()
    for _ in range(2):
        await people.anybody.Logout(LogoutRequest(refresh_token=pair.refresh_token))
    with refusal(*REFUSED):
        await people.refresh(pair.refresh_token)
    await refused_soon(people, pair.access_token)
    await people.refresh(other.refresh_token)


async def test_disabling_ends_access_at_once(people: People) -> None:
    user = await people.member("viewer")
    pair = await people.sign_in()
    await people.who_is(pair.access_token)
    await (await people.admin()).DisableUser(DisableUserRequest(user_id=user.id))
    await refused_soon(people, pair.access_token)


async def test_everybody_sees_and_ends_their_own_sessions(people: People) -> None:
    await people.member("viewer")
    await people.member("viewer", email="bob@example.org")
    mine = [await people.sign_in() for _ in range(3)]
    bobs = await people.sign_in("bob@example.org")
    stub = people.of(mine[0].access_token)
    listed = await sessions(stub)
    assert [each.id for each in listed] == sorted((each.id for each in listed), reverse=True)
    assert len(listed) == 3

    for _ in range(2):
        await stub.EndSession(EndSessionRequest(session_id=listed[0].id))
    assert await sessions(stub) == listed[1:]
    with refusal(*REFUSED):
        await people.refresh(mine[2].refresh_token)
    await refused_soon(people, mine[2].access_token)

    (bob,) = await sessions(people.of(bobs.access_token))
    with refusal(StatusCode.NOT_FOUND, "SESSION_NOT_FOUND", "session_id"):
        await stub.EndSession(EndSessionRequest(session_id=bob.id))
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await sessions(stub, bob.user_id)
    await people.refresh(bobs.refresh_token)


async def test_an_administrator_sees_and_ends_others_sessions(people: People) -> None:
    user = await people.member("viewer")
    pair = await people.sign_in()
    admin = await people.admin()
    assert await sessions(admin) == []
    (session,) = await sessions(admin, user.id)
    await admin.EndSession(EndSessionRequest(session_id=session.id))
    with refusal(*REFUSED):
        await people.refresh(pair.refresh_token)
    assert await sessions(admin, user.id) == []


async def test_sessions_are_listed_by_pages(people: People) -> None:
    user = await people.member("viewer")
    for _ in range(3):
        await people.sign_in()
    admin = await people.admin()
    request = ListSessionsRequest(user_id=user.id, page_size=2)
    first = await admin.ListSessions(request)
    request.page_token = first.next_page_token
    second = await admin.ListSessions(request)
    found = [*first.sessions, *second.sessions]
    assert found == await sessions(admin, user.id)
    assert (len(first.sessions), second.next_page_token) == (2, "")


async def test_whoever_signs_in_while_being_disabled_has_no_session_left(people: People) -> None:
    user = await people.member("viewer")
    admin = await people.admin()
    results = await asyncio.gather(
        *(people.sign_in() for _ in range(4)),
        admin.DisableUser(DisableUserRequest(user_id=user.id)),
        return_exceptions=True,
    )
    for pair in results:
        if isinstance(pair, TokenPair):
            with refusal(*REFUSED):
                await people.refresh(pair.refresh_token)
    assert await sessions(admin, user.id) == []


async def test_what_is_over_is_removed_after_a_while(people: People) -> None:
    user = await people.member("viewer")
    await people.invite("bob@example.org")
    ended, kept = await people.sign_in(), await people.sign_in()
    await people.anybody.Logout(LogoutRequest(refresh_token=ended.refresh_token))
    with refusal(*REFUSED):
        await people.sign_in(password="no such password")
    leftovers = people.auth.accounts.leftovers
    assert await leftovers.run_once() == 0
    await people.pass_time(901)
    assert await leftovers.run_once() == 1
    await people.refresh(kept.refresh_token)
    await people.pass_time(7 * DAY - 60)
    assert await leftovers.run_once() == 2
    assert len(await sessions(await people.admin(), user.id)) == 1
    assert datetime.now(UTC) > user.create_time.ToDatetime(UTC)
    await people.pass_time(14 * DAY)
    assert await leftovers.run_once() == 1
    with refusal(*REFUSED):
        await people.refresh(kept.refresh_token)
