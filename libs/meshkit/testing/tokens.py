"""Access tokens for tests, signed and verified for real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshkit.ids import uuid7
from meshkit.security.tokens import ALGORITHM, TOKEN_TYPE, PublicKeys, TokenVerifier

ISSUER: Final = "agentmesh"
AUDIENCE: Final = "agentmesh"
TENANT: Final = "acme"
SUBJECT: Final = "key:tester"


class TokenFactory:
    """Signs tokens with a key pair of its own.

    Attributes:
        verifier: What a server needs to accept these tokens and no others.
    """

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._key_id = uuid7().hex
        self.verifier = TokenVerifier(
            PublicKeys(self._public_keys), issuer=ISSUER, audience=AUDIENCE
        )

    def sign(
        self,
        *permissions: str,
        tenant: str = TENANT,
        subject: str = SUBJECT,
        lifetime: timedelta = timedelta(minutes=5),
    ) -> str:
        """Sign a token that holds the permissions; a negative lifetime makes an expired one."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "tenant": tenant,
            "scope": " ".join(permissions),
            "iat": now,
            "exp": now + lifetime,
            "jti": uuid7().hex,
        }
        headers = {"kid": self._key_id, "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._private, ALGORITHM, headers=headers)

    async def _public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        return {self._key_id: self._private.public_key()}
