"""Remembering what auth said of an API key."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from meshkit.errors import Unauthenticated, Unavailable
from meshkit.interceptors import deadline
from meshkit.security.api_keys import CachedApiKeys, refused
from meshkit.security.credentials import Verifier
from meshkit.security.principal import Principal
from tests.manual_clock import ManualClock
from tests.waiting import until


class Auth:
    """Stands where auth is asked: counts the questions, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: Exception | None = None
        self.expires_in: timedelta | None = None
        self.clock = ManualClock()
        self.open = asyncio.Event()
        self.open.set()

    async def check(self, api_key: str) -> Principal:
        self.asked.append(api_key)
        await self.open.wait()
        if self.refusal:
            raise self.refusal
        expires = self.clock.now() + self.expires_in if self.expires_in else None
        return Principal(f"key:{api_key}", "acme", ("task:read",), expires)

    def cached(self, size: int = 100) -> CachedApiKeys:
        return CachedApiKeys(
            self.check, fresh_seconds=30, stale_seconds=300, size=size, clock=self.clock
        )


@pytest.fixture
def auth() -> Auth:
    return Auth()


async def test_a_checked_key_is_not_asked_for_while_fresh(auth: Auth) -> None:
    keys = auth.cached()
    first = await keys.verify("a")
    auth.clock.advance(29.9)
    assert await keys.verify("a") is first
    assert auth.asked == ["a"]
    auth.clock.advance(0.2)
    await keys.verify("a")
    assert auth.asked == ["a", "a"]


async def test_a_stale_key_goes_on_only_while_auth_is_away_and_not_for_ever(auth: Auth) -> None:
    keys = auth.cached()
    known = await keys.verify("a")
    auth.refusal = Unavailable("away")
    auth.clock.advance(299)
    assert await keys.verify("a") is known
    auth.clock.advance(1)
    with pytest.raises(Unavailable):
        await keys.verify("a")
    with pytest.raises(Unavailable):
        await keys.verify("never seen")


async def test_a_key_revoked_meanwhile_is_forgotten(auth: Auth) -> None:
    keys = auth.cached()
    await keys.verify("a")
    auth.refusal = refused()
    auth.clock.advance(31)
    with pytest.raises(Unauthenticated):
        await keys.verify("a")
    auth.refusal = Unavailable("away")
    auth.clock.advance(2)
    with pytest.raises(Unavailable):
        await keys.verify("a")


async def test_a_refusal_is_remembered_shortly(auth: Auth) -> None:
    keys = auth.cached()
    auth.refusal = refused()
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
            await keys.verify("a")
    assert auth.asked == ["a"]
    auth.refusal = None
    auth.clock.advance(1)
    assert (await keys.verify("a")).subject == "key:a"


async def test_a_remembered_key_never_outlives_its_expiry(auth: Auth) -> None:
    keys = auth.cached()
    auth.expires_in = timedelta(seconds=10)
    await keys.verify("a")
    auth.clock.advance(10)
    with pytest.raises(Unauthenticated):
        await keys.verify("a")
    auth.refusal = Unavailable("away")
    auth.clock.advance(100)
    with pytest.raises(Unauthenticated):
        await keys.verify("a")


async def test_what_is_remembered_is_bounded_and_bad_keys_drive_no_good_one_out(
    auth: Auth,
) -> None:
    keys = auth.cached(size=2)
    for name in "abc":
        await keys.verify(name)
    auth.refusal = refused()
    for name in "0123456789":
        with pytest.raises(Unauthenticated):
            await keys.verify(name)
    auth.refusal = None
    auth.asked.clear()
    for name in "cba":
        await keys.verify(name)
    assert auth.asked == ["a"]
    assert len(keys._answers) == len(keys._refused_at) == 2
    assert not any(name in repr(keys._answers) for name in ("'a'", "mesh_"))


async def test_callers_at_once_share_one_check_and_none_can_end_it(auth: Auth) -> None:
    keys = auth.cached()
    auth.open.clear()
    callers = [asyncio.create_task(keys.verify("a")) for _ in range(5)]
    await until(lambda: auth.asked == ["a"])
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    auth.open.set()

    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {getattr(each, "subject", None) for each in answers[1:]} == {"key:a"}
    assert auth.asked == ["a"]
    assert not keys._pending


async def test_a_check_has_no_callers_deadline() -> None:
    async def check(_api_key: str) -> Principal:
        seen.append(deadline.remaining_seconds())
        return Principal("key:a", "acme", ())

    seen: list[float | None] = []
    token = deadline._ends_at.set(0.0)
    try:
        await CachedApiKeys(check, fresh_seconds=1, stale_seconds=1).verify("a")
    finally:
        deadline._ends_at.reset(token)
    assert seen == [None]


async def test_a_shared_failure_reaches_every_caller(auth: Auth) -> None:
    keys = auth.cached()
    auth.refusal = Unavailable("away")
    failures = await asyncio.gather(*(keys.verify("a") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in failures] == [Unavailable] * 3
    assert auth.asked == ["a"]


async def test_each_credential_goes_to_the_verifier_of_its_kind(auth: Auth) -> None:
    tokens = Auth()
    verifier = Verifier(tokens=tokens.cached(), api_keys=auth.cached())
    await verifier.verify("mesh_dev_1")
    await verifier.verify("eyJ.x.y")
    assert (auth.asked, tokens.asked) == (["mesh_dev_1"], ["eyJ.x.y"])
