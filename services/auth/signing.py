"""Signs access tokens (RFC 9068, EdDSA by RFC 8037)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshkit.ids import IdSource, uuid7
from meshkit.security.principal import Principal
from meshkit.security.tokens import ALGORITHM, TOKEN_TYPE
from services.auth.domain.keys import SigningKey
from services.auth.secrets import MasterKey


@dataclass(frozen=True, slots=True)
class Token:
    """A signed access token and how long it works."""

    text: str
    lifetime: timedelta


def new_signing_key(
    master: MasterKey, now: datetime, *, sign_time: datetime, ids: IdSource = uuid7
) -> SigningKey:
    """Make a key pair, its private half sealed, that begins to sign at a time."""
    private = Ed25519PrivateKey.generate()
    return SigningKey(
        id=ids().hex,
        sealed_private_key=master.seal(private.private_bytes_raw()),
        public_key=private.public_key().public_bytes_raw(),
        create_time=now,
        sign_time=sign_time,
    )


def public_keys(keys: list[SigningKey]) -> Mapping[str, Ed25519PublicKey]:
    """Return the public halves by key id."""
    return {key.id: Ed25519PublicKey.from_public_bytes(key.public_key) for key in keys}


class Signer:
    """Signs with one key."""

    def __init__(
        self, key: SigningKey, master: MasterKey, *, issuer: str, audience: str, lifetime: float
    ) -> None:
        self._key_id = key.id
        self._private = Ed25519PrivateKey.from_private_bytes(master.unseal(key.sealed_private_key))
        self._issuer = issuer
        self._audience = audience
        self._lifetime = timedelta(seconds=lifetime)

    def sign(self, principal: Principal, now: datetime, ids: IdSource = uuid7) -> Token:
        """Sign a token for `principal`; it never outlives the principal's own credential.

        Beside the claims of RFC 9068 and, for who acts for it, RFC 8693, it says `tenant`, the
        credentials by whose revocation it ends, the rate limit and further tenants.
        """
        lifetime = self._lifetime
        if principal.expires_at is not None:
            lifetime = min(lifetime, principal.expires_at - now)
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": principal.subject,
            "tenant": principal.tenant,
            "scope": " ".join(principal.permissions),
            # With fractions, so that what was revoked within the same second is told apart.
            "iat": now.timestamp(),
            "exp": now + lifetime,
            "jti": ids().hex,
            "cid": [principal.credential_id, *principal.actor_credentials],
        }
        if principal.actors:
            claims["act"] = _actors(principal.actors)
        if principal.rate_limit is not None:
            claims["limit"] = [principal.rate_limit.per_second, principal.rate_limit.burst]
        if principal.tenants:
            claims["tenants"] = list(principal.tenants)
        text = jwt.encode(
            claims, self._private, ALGORITHM, headers={"kid": self._key_id, "typ": TOKEN_TYPE}
        )
        return Token(text, lifetime)

    def sign_text(self, text: str) -> tuple[str, bytes]:
        """Sign any text; return the id of the key and the signature."""
        return self._key_id, self._private.sign(text.encode())


def _actors(actors: tuple[str, ...]) -> dict[str, Any]:
    """Nest the actors, the nearest outermost (RFC 8693, 4.1)."""
    nearest, *others = actors
    return {"sub": nearest, "act": _actors(tuple(others))} if others else {"sub": nearest}
