"""Verifying access tokens, and keeping the keys that verify them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import Unauthenticated, Unavailable
from meshkit.interceptors import deadline
from meshkit.security.tokens import REQUIRED_CLAIMS, PublicKeys, TokenVerifier
from meshkit.testing.tokens import TokenFactory
from tests.manual_clock import ManualClock
from tests.waiting import until

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
NOW = datetime.now(UTC)
CLAIMS: dict[str, Any] = {
    "iss": "agentmesh",
    "aud": "agentmesh",
    "sub": "key:1",
    "tenant": "acme",
    "scope": "task:read agent:*",
    "iat": NOW,
    "exp": NOW + timedelta(hours=1),
}


def signed(
    claims: dict[str, Any] | None = None,
    key: Any = KEY,
    algorithm: str = "EdDSA",
    **headers: Any,
) -> str:
    present = {name: value for name, value in (CLAIMS | (claims or {})).items() if value}
    named = {"kid": "k1", "typ": "at+jwt"} | headers
    if named["kid"] is None:
        del named["kid"]
    return jwt.encode(present, key, algorithm, named)


class Source:
    """Gives keys, counts how often, and can be away or slow."""

    def __init__(self, **keys: Ed25519PublicKey) -> None:
        self.keys: Mapping[str, Ed25519PublicKey] = keys
        self.calls = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Mapping[str, Ed25519PublicKey]:
        self.calls += 1
        await self.open.wait()
        if self.away:
            raise Unavailable("away")
        return self.keys


def verifier_of(source: Source, clock: ManualClock | None = None) -> TokenVerifier:
    keys = PublicKeys(source, clock=clock)
    return TokenVerifier(keys, issuer="agentmesh", audience="agentmesh", clock=clock)


async def test_a_good_token_speaks_for_its_subject() -> None:
    principal = await verifier_of(Source(k1=PUBLIC)).verify(signed())
    assert (principal.subject, principal.tenant) == ("key:1", "acme")
    assert principal.permissions == ("task:read", "agent:*")
    assert principal.expires_at == CLAIMS["exp"].replace(microsecond=0)


async def test_a_token_from_a_clock_that_is_ahead_is_good() -> None:
    await verifier_of(Source(k1=PUBLIC)).verify(signed({"iat": NOW + timedelta(seconds=3)}))


@pytest.mark.parametrize(
    "token",
    [
        signed({"iss": "other"}),
        signed({"aud": "other"}),
        signed({"exp": NOW - timedelta(seconds=1)}),
        signed({"nbf": NOW + timedelta(hours=1)}),
        signed({"sub": 7}),
        signed(typ="JWT"),
        signed(typ=None),
        signed(kid="unknown"),
        signed(kid=None),
        signed(kid=""),
        signed(key=Ed25519PrivateKey.generate()),
        signed(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        signed(key=PUBLIC.public_bytes_raw(), algorithm="HS256"),
        signed(key=None, algorithm="none"),
        signed()[:-4],
        signed().replace(".", "", 1),
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.e30",
        "é.é.é",
        "",
        *(signed({name: None}) for name in REQUIRED_CLAIMS),
    ],
)
@pytest.mark.filterwarnings("ignore:The HMAC key is:jwt.warnings.InsecureKeyLengthWarning")
async def test_any_other_token_is_refused_without_saying_why(token: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^The access token is not valid or has expired"):
        await verifier_of(Source(k1=PUBLIC)).verify(token)


@given(text=st.text() | st.text("abAB01-_.=", min_size=3))
async def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier_of(Source(k1=PUBLIC)).verify(text)


async def test_a_remembered_token_ends_when_it_expires() -> None:
    clock = ManualClock()
    verifier = verifier_of(Source(k1=PUBLIC), clock)
    token = signed({"exp": clock.now() + timedelta(seconds=60)})
    await verifier.verify(token)
    clock.advance(58)
    await verifier.verify(token)
    clock.advance(2)
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_tokens_of_one_factory_are_foreign_to_another() -> None:
    factory = TokenFactory()
    assert (await factory.verifier.verify(factory.sign("a:b"))).may("a:b")
    with pytest.raises(Unauthenticated):
        await TokenFactory().verifier.verify(factory.sign("a:b"))


async def test_a_new_key_is_fetched_when_a_token_names_it_but_not_at_every_token() -> None:
    clock, source = ManualClock(), Source(k1=PUBLIC)
    keys = PublicKeys(source, clock=clock, refetch_seconds=5)
    assert await keys.get("k1") is PUBLIC
    source.keys = {"k1": PUBLIC, "k2": PUBLIC}

    for name in ("k2", "x", "y", "k2"):
        assert await keys.get(name) is None
    assert source.calls == 1
    clock.advance(5)
    assert [await keys.get(name) for name in ("k2", "x", "k1")] == [PUBLIC, None, PUBLIC]
    assert source.calls == 2


async def test_keys_are_fetched_anew_when_old_and_go_on_while_the_source_is_away() -> None:
    clock, source = ManualClock(), Source(k1=PUBLIC)
    keys = PublicKeys(source, clock=clock, max_age_seconds=300)
    await keys.get("k1")
    source.away, source.keys = True, {}
    for _ in range(5):
        clock.advance(301)
        assert await keys.get("k1") is PUBLIC
    assert source.calls == 6

    source.away = False
    clock.advance(301)
    assert await keys.get("k1") is None


async def test_without_any_key_the_source_is_asked_at_once_again() -> None:
    source = Source(k1=PUBLIC)
    source.away = True
    keys = PublicKeys(source, clock=ManualClock())
    for _ in range(2):
        with pytest.raises(Unavailable, match="auth service is away"):
            await keys.get("k1")
    source.away = False
    assert await keys.get("k1") is PUBLIC


async def test_one_fetch_serves_all_and_no_caller_can_end_it() -> None:
    source = Source(k1=PUBLIC)
    source.open.clear()
    keys = PublicKeys(source)
    first, second = (asyncio.create_task(keys.get("k1")) for _ in range(2))
    await until(lambda: source.calls == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.open.set()
    assert await second is PUBLIC
    assert source.calls == 1


async def test_a_known_key_does_not_wait_for_a_source_that_hangs() -> None:
    clock, source = ManualClock(), Source(k1=PUBLIC)
    keys = PublicKeys(source, clock=clock)
    await keys.get("k1")
    clock.advance(1_000)
    source.open.clear()
    waiting = asyncio.create_task(keys.get("unknown"))
    await until(lambda: source.calls == 2)
    assert await keys.get("k1") is PUBLIC
    source.open.set()
    assert await waiting is None


async def test_a_fetch_has_no_callers_deadline() -> None:
    seen: list[float | None] = []

    async def source() -> Mapping[str, Ed25519PublicKey]:
        seen.append(deadline.remaining_seconds())
        return {"k1": PUBLIC}

    token = deadline._ends_at.set(0.0)
    try:
        assert await PublicKeys(source).get("k1") is PUBLIC
    finally:
        deadline._ends_at.reset(token)
    assert seen == [None]
