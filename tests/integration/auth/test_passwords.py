"""Passwords: chosen once by a token, changed by who knows them, not to be guessed."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from argon2 import PasswordHasher as Argon2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from mesh.auth.v1.user_service_pb2 import (
    ChangePasswordRequest,
    CreatePasswordResetRequest,
    DisableUserRequest,
    ListSessionsRequest,
)
from meshkit.statuses import DETAILS_KEY
from meshkit.testing.refusals import reason_of, refusal
from tests.integration.auth.people import ADA, OTHER_PASSWORD, PASSWORD, People
from tests.waiting import until, until_true

REFUSED = (StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")
LOCKED = (StatusCode.RESOURCE_EXHAUSTED, "SIGN_IN_LOCKED")
WEEK = 7 * 86_400


async def reset(people: People, user_id: str) -> str:
    admin = await people.admin()
    made = await admin.CreatePasswordReset(CreatePasswordResetRequest(user_id=user_id))
    return made.reset_token


async def test_an_invitation_works_once(people: People) -> None:
    invitation = (await people.invite()).invitation
    chosen = await asyncio.gather(
        *(people.choose(invitation, f"{PASSWORD} {number}") for number in range(3)),
        return_exceptions=True,
    )
    winners = [number for number, error in enumerate(chosen) if error is None]
    assert len(winners) == 1
    with refusal(*REFUSED):
        await people.choose(invitation, OTHER_PASSWORD)
    await people.sign_in(password=f"{PASSWORD} {winners[0]}")


async def test_an_invitation_expires(people: People) -> None:
    early = (await people.invite()).invitation
    late = (await people.invite("bob@example.org")).invitation
    await people.pass_time(WEEK - 60)
    await people.choose(early)
    await people.pass_time(60)
    with refusal(*REFUSED):
        await people.choose(late)


@pytest.mark.parametrize("token", ["x", "meshp_" + "x" * 43])
async def test_what_is_no_token_sets_no_password(people: People, token: str) -> None:
    await people.invite()
    with refusal(*REFUSED):
        await people.choose(token)


async def test_a_reset_replaces_the_password_and_ends_all_sessions(people: People) -> None:
    user = await people.member("viewer")
    pair = await people.sign_in()
    token = await reset(people, user.id)
    await people.sign_in()
    await people.choose(token, OTHER_PASSWORD)
    with refusal(*REFUSED):
        await people.sign_in()
    with refusal(*REFUSED):
        await people.refresh(pair.refresh_token)
    await refused_soon(people, pair.access_token)
    await people.sign_in(password=OTHER_PASSWORD)


async def test_only_the_latest_reset_works_and_for_an_hour(people: People) -> None:
    user = await people.member()
    first, second = await reset(people, user.id), await reset(people, user.id)
    with refusal(*REFUSED):
        await people.choose(first, OTHER_PASSWORD)
    await people.pass_time(3600)
    with refusal(*REFUSED):
        await people.choose(second, OTHER_PASSWORD)
    await people.choose(await reset(people, user.id), OTHER_PASSWORD)


async def test_a_reset_ends_with_disabling(people: People) -> None:
    user = await people.member()
    token = await reset(people, user.id)
    await (await people.admin()).DisableUser(DisableUserRequest(user_id=user.id))
    with refusal(*REFUSED):
        await people.choose(token, OTHER_PASSWORD)


async def test_who_knows_the_password_changes_it_and_stays_signed_in_alone(
    people: People,
) -> None:
    user = await people.member("viewer")
    mine, other = await people.sign_in(), await people.sign_in()
    pending = await reset(people, user.id)
    stub = people.of(mine.access_token)
    with refusal(StatusCode.INVALID_ARGUMENT, "PASSWORD_WRONG", "password"):
        await stub.ChangePassword(
            ChangePasswordRequest(password=OTHER_PASSWORD, new_password=OTHER_PASSWORD)
        )
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "new_password"):
        await stub.ChangePassword(ChangePasswordRequest(password=PASSWORD, new_password="short"))
    await stub.ChangePassword(ChangePasswordRequest(password=PASSWORD, new_password=OTHER_PASSWORD))

    with refusal(*REFUSED):
        await people.sign_in()
    with refusal(*REFUSED):
        await people.refresh(other.refresh_token)
    with refusal(*REFUSED):
        await people.choose(pending)
    await refused_soon(people, other.access_token)
    assert len((await stub.ListSessions(ListSessionsRequest())).sessions) == 1
    await people.refresh(mine.refresh_token)
    await people.sign_in(password=OTHER_PASSWORD)


async def test_a_key_has_no_password_to_change(people: People) -> None:
    stub = await people.admin()
    with refusal(StatusCode.FAILED_PRECONDITION, "NOT_A_USER"):
        await stub.ChangePassword(
            ChangePasswordRequest(password=PASSWORD, new_password=OTHER_PASSWORD)
        )


@pytest.mark.parametrize("whose", ["nobody", "wrong", "invited", "disabled"])
async def test_whoever_is_refused_a_password_was_verified(
    people: People, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    verified: list[str] = []
    real = Argon2.verify

    def verify(self: Argon2, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return real(self, password_hash, password)

    if whose == "invited":
        await people.invite()
    elif whose != "nobody":
        await people.member()
    if whose == "disabled":
        await people.execute("UPDATE users SET disable_time = now()")
    monkeypatch.setattr(Argon2, "verify", verify)
    with pytest.raises(aio.AioRpcError) as refused:
        await people.sign_in(password=OTHER_PASSWORD if whose == "wrong" else PASSWORD)
    assert refused.value.code() == StatusCode.UNAUTHENTICATED
    assert reason_of(refused.value) == "CREDENTIAL_INVALID"
    assert (refused.value.details() or "").startswith("The address or the password is wrong")
    (checked,) = verified
    assert checked.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("exists", [True, False])
async def test_ten_failures_lock_an_address_for_the_rest_of_the_window(
    people: People, exists: bool
) -> None:
    if exists:
        await people.member()
    for number in range(10):
        with refusal(*REFUSED):
            await people.sign_in(ADA.upper() if number % 2 else ADA, OTHER_PASSWORD)
    await people.pass_time(600)
    with refusal(*LOCKED):
        await people.sign_in()
    with pytest.raises(aio.AioRpcError) as locked:
        await people.sign_in(ADA.title())
    assert timedelta(seconds=240) < retry_delay(locked.value) <= timedelta(seconds=300)

    await people.pass_time(300)
    if exists:
        await people.sign_in()
    else:
        with refusal(*REFUSED):
            await people.sign_in()


async def test_a_good_sign_in_forgets_the_failures(people: People) -> None:
    await people.member()
    for _ in range(9):
        with refusal(*REFUSED):
            await people.sign_in(password=OTHER_PASSWORD)
    await people.sign_in()
    assert await people.execute("SELECT failures FROM sign_in_failures") == []
    with refusal(*REFUSED):
        await people.sign_in(password=OTHER_PASSWORD)


async def test_guesses_made_at_once_are_not_told_from_each_other_once_locked(
    people: People,
) -> None:
    await people.member()
    await people.execute("UPDATE users SET password_hash = :hash", hash=Argon2(1, 8, 1).hash("x"))
    for _ in range(9):
        with refusal(*REFUSED):
            await people.sign_in(password=OTHER_PASSWORD)
    guesses = await asyncio.gather(
        *(people.sign_in(password=OTHER_PASSWORD) for _ in range(6)), return_exceptions=True
    )
    answers = sorted(reason_of(each) for each in guesses if isinstance(each, aio.AioRpcError))
    assert answers == ["CREDENTIAL_INVALID"] + ["SIGN_IN_LOCKED"] * 5


@pytest.mark.parametrize(
    ("meanwhile", "refused"),
    [
        ("INSERT INTO sign_in_failures SELECT sha256('ada@example.org'), 10, now()", LOCKED),
        ("UPDATE users SET password_hash = 'another'", REFUSED),
        ("UPDATE users SET disable_time = now()", REFUSED),
    ],
)
async def test_what_happens_while_a_password_is_verified_counts(
    people: People,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: str,
    refused: tuple[StatusCode, str],
) -> None:
    await people.member()
    verifying, go_on = threading.Event(), threading.Event()
    real = Argon2.verify

    def verify(self: Argon2, password_hash: str, password: str) -> bool:
        verifying.set()
        assert go_on.wait(30)
        return real(self, password_hash, password)

    monkeypatch.setattr(Argon2, "verify", verify)
    signing_in = asyncio.create_task(people.sign_in())
    await until(verifying.is_set)
    await people.execute(meanwhile)
    go_on.set()
    with refusal(*refused):
        await signing_in
    assert await people.execute("SELECT id FROM sessions") == []


async def test_a_wrong_present_password_counts_as_a_failure(people: People) -> None:
    await people.member("viewer")
    stub = people.of((await people.sign_in()).access_token)
    request = ChangePasswordRequest(password=OTHER_PASSWORD, new_password=OTHER_PASSWORD)
    for _ in range(10):
        with refusal(StatusCode.INVALID_ARGUMENT, "PASSWORD_WRONG", "password"):
            await stub.ChangePassword(request)
    with refusal(*LOCKED):
        await stub.ChangePassword(request)
    with refusal(*LOCKED):
        await people.sign_in()


async def test_a_reset_unlocks(people: People) -> None:
    user = await people.member()
    for _ in range(10):
        with refusal(*REFUSED):
            await people.sign_in(password=OTHER_PASSWORD)
    await people.choose(await reset(people, user.id), PASSWORD)
    await people.sign_in()


async def test_a_hash_of_old_parameters_is_replaced_at_the_next_sign_in(people: People) -> None:
    await people.member()
    old = Argon2(1, 8, 1).hash(PASSWORD)
    await people.execute("UPDATE users SET password_hash = :hash", hash=old)
    await people.sign_in()
    ((new,),) = await people.execute("SELECT password_hash FROM users")
    assert new.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await people.sign_in()
    assert await people.execute("SELECT password_hash FROM users") == [(new,)]


async def refused_soon(people: People, token: str) -> None:
    """Wait until an access token is refused."""

    async def is_refused() -> bool:
        try:
            await people.who_is(token)
        except aio.AioRpcError as error:
            return error.code() == StatusCode.UNAUTHENTICATED
        return False

    await until_true(is_refused)


def retry_delay(error: aio.AioRpcError) -> timedelta:
    """Return after how long an answer says to try again."""
    trailing = dict(error.trailing_metadata() or ())
    retry = RetryInfo()
    status = Status.FromString(trailing[DETAILS_KEY])
    assert any(each.Unpack(retry) for each in status.details)
    delay: timedelta = retry.retry_delay.ToTimedelta()
    return delay
