"""Local verification of access tokens (RFC 8725, RFC 9068) with cached public keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import Context
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.utils import base64url_decode

from meshkit.clock import Clock, SystemClock
from meshkit.errors import DomainError, Unauthenticated, Unavailable
from meshkit.limits.rate import RateLimit
from meshkit.security.principal import Principal
from meshkit.security.revocations import Revoked

ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - the `typ` of a token, not one
REQUIRED_CLAIMS: Final = ["iss", "aud", "exp", "iat", "sub", "tenant", "scope"]

_REMEMBERED = 4096
_REMEMBERED_HEADERS = 64

KeySource = Callable[[], Awaitable[Mapping[str, Ed25519PublicKey]]]
"""Fetches the public keys by key id."""


class PublicKeys:
    """Keeps the public keys that a source gives.

    Keys are fetched anew when they are old or when a token names an unknown one,
    once the first are known at most once in `refetch_seconds`. Callers that need a
    fetch share it. While the source is away, the keys known go on being used.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        clock: Clock | None = None,
        max_age_seconds: float = 300.0,
        refetch_seconds: float = 5.0,
    ) -> None:
        self._source = source
        self._clock = clock or SystemClock()
        self._max_age = max_age_seconds
        self._refetch = refetch_seconds
        self._keys: Mapping[str, Ed25519PublicKey] = {}
        self._fetched_at: float | None = None
        self._tried_at = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, key_id: str) -> Ed25519PublicKey | None:
        """Return the key of this id, or None if the source doesn't publish it.

        Raises:
            Unavailable: No keys could ever be fetched.
        """
        key = self._keys.get(key_id)
        if key is not None and (self._fetching is not None or not self._is_old()):
            return key
        await self._fetch()
        return self._keys.get(key_id)

    def _is_old(self) -> bool:
        return self._fetched_at is None or (
            self._clock.monotonic() - self._fetched_at > self._max_age
        )

    async def _fetch(self) -> None:
        if self._fetching is None:
            now = self._clock.monotonic()
            if self._fetched_at is not None and now - self._tried_at < self._refetch:
                return
            self._tried_at = now
            # In a context of its own: the first caller's deadline is not the others'.
            self._fetching = asyncio.create_task(self._fetch_once(now), context=Context())
            self._fetching.add_done_callback(self._fetch_ended)
        await asyncio.shield(self._fetching)

    async def _fetch_once(self, now: float) -> None:
        try:
            self._keys = await self._source()
        except DomainError as error:
            if self._fetched_at is None:
                raise Unavailable(
                    "Credentials can't be checked now: the auth service is away. Try again.",
                    retry_after=1.0,
                ) from error
            return
        self._fetched_at = now

    def _fetch_ended(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None


class TokenVerifier:
    """Verifies access tokens: algorithm pinned, issuer, audience, type and expiry checked."""

    def __init__(
        self,
        keys: PublicKeys,
        *,
        issuer: str,
        audience: str,
        revoked: Revoked | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._keys = keys
        self._revoked = revoked or Revoked()
        self._revoked.on_news(self._forget_revoked)
        self._clock = clock or SystemClock()
        self._issuer = issuer
        self._audience = audience
        self._verified: dict[str, Principal] = {}
        self._key_ids: dict[str, str] = {}

    async def verify(self, credential: str) -> Principal:
        """Return whom the token speaks for; a good token is remembered until it expires.

        Raises:
            Unauthenticated: The token is malformed, expired, or not for this mesh.
            Unavailable: No public keys are known yet.
        """
        known = self._verified.get(credential)
        if known is None:
            known = await self._check(credential)
            if self._revoked.ends(known):
                raise _invalid()
            self._remember(credential, known)
        if known.expires_at is not None and known.expires_at <= self._clock.now():
            raise _invalid()
        return known

    def _forget_revoked(self, revoked: Revoked) -> None:
        for credential in [each for each, of in self._verified.items() if revoked.ends(of)]:
            del self._verified[credential]

    def _remember(self, credential: str, principal: Principal) -> None:
        # The oldest gives way, used lately or not: to keep track of use costs more, each time.
        if len(self._verified) >= _REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[credential] = principal

    async def _check(self, credential: str) -> Principal:
        header = credential.partition(".")[0]
        # Alike in all tokens that a key has signed, and checked already.
        known = self._key_ids.get(header)
        key_id = known or self._key_id(credential)
        key = await self._keys.get(key_id)
        if key is None:
            raise _invalid()
        claims = self._plain_claims(credential, key) if known else None
        if claims is None:
            claims = self._claims(credential, key)
            if len(self._key_ids) < _REMEMBERED_HEADERS:
                self._key_ids[header] = key_id
        try:
            return _principal(claims)
        except (KeyError, TypeError, ValueError) as error:
            raise _invalid() from error

    def _plain_claims(self, credential: str, key: Ed25519PublicKey) -> dict[str, Any] | None:
        """Return the claims of a token whose header is known for good, if they are as auth's are.

        It takes half as long as the library, which is asked of all others.

        Raises:
            Unauthenticated: The signature is wrong.
        """
        signed, _, signature = credential.rpartition(".")
        try:
            key.verify(base64url_decode(signature), signed.encode())
            claims = json.loads(base64url_decode(signed.partition(".")[2]))
        except InvalidSignature as error:
            raise _invalid() from error
        except ValueError:
            return None
        usual = (
            isinstance(claims, dict)
            and "nbf" not in claims
            and claims.keys() >= set(REQUIRED_CLAIMS)
            and claims["iss"] == self._issuer
            and claims["aud"] == self._audience
            and type(claims["exp"]) is int
            and claims["exp"] > self._clock.now().timestamp()
        )
        return claims if usual else None

    def _claims(self, credential: str, key: Ed25519PublicKey) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                credential,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                # A token is no worse for coming from a clock that is a little ahead.
                options={"require": REQUIRED_CLAIMS, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise _invalid() from error
        return claims

    def _key_id(self, credential: str) -> str:
        try:
            header = jwt.get_unverified_header(credential)
        except (jwt.PyJWTError, RecursionError) as error:
            raise _invalid() from error
        key_id = header.get("kid")
        if header.get("typ") != TOKEN_TYPE or header.get("alg") != ALGORITHM or not key_id:
            raise _invalid()
        return str(key_id)


def _principal(claims: Mapping[str, Any]) -> Principal:
    credential_id, *actor_credentials = claims.get("cid") or [""]
    limit = claims.get("limit")
    return Principal(
        subject=str(claims["sub"]),
        tenant=str(claims["tenant"]),
        permissions=tuple(str(claims["scope"]).split()),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        actors=tuple(_actors(claims.get("act"))),
        credential_id=str(credential_id),
        rate_limit=None if limit is None else RateLimit(float(limit[0]), int(limit[1])),
        tenants=tuple(claims.get("tenants", ())),
        actor_credentials=tuple(actor_credentials),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
    )


def _actors(act: Mapping[str, Any] | None) -> Iterator[str]:
    while act is not None:
        yield str(act["sub"])
        act = act.get("act")


def _invalid() -> Unauthenticated:
    return Unauthenticated("The access token is not valid or has expired; get a new one.")
