"""A replica of auth put together as its process does, and keys to call it with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from meshkit.database.engine import Database
from meshkit.settings import IdentitySettings
from services.auth import replica as auth
from services.auth.settings import AuthSettings
from services.auth.usecases.keys import NewKey

MASTER_KEY = "test master key of at least 32 characters"


class Replica(auth.Replica):
    """One replica, and keys to call it with."""

    async def key(self, *roles: str, tenant: str = "acme", **rest: Any) -> str:
        """Issue a key, as the command does."""
        _, secret = await self.api_keys.issue(
            tenant, NewKey(display_name="for a test", roles=roles, **rest), "operator"
        )
        return secret

    async def sign(
        self,
        claims: Mapping[str, Any] | None = None,
        *,
        algorithm: str = "EdDSA",
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Sign a token with auth's own key that says anything."""
        stored = (await self.tokens.signing_keys())[0]
        sealed = self.master.unseal(stored.sealed_private_key)
        keys: dict[str, Any] = {
            "EdDSA": Ed25519PrivateKey.from_private_bytes(sealed),
            "HS256": stored.public_key,
            "none": None,
        }
        now = datetime.now(UTC)
        said = {
            "iss": "agentmesh",
            "aud": "agentmesh",
            "sub": "key:forged",
            "tenant": "acme",
            "scope": "* mesh:*",
            "iat": now,
            "exp": now + timedelta(minutes=5),
        }
        named = {"kid": stored.id, "typ": "at+jwt"}
        return jwt.encode(
            {**said, **(claims or {})}, keys[algorithm], algorithm, {**named, **(headers or {})}
        )


def replica(database: Database, master_key: str = MASTER_KEY) -> Replica:
    """Build a replica on a database."""
    settings = AuthSettings(master_key=SecretStr(master_key), key_environment="test")
    return Replica(database, settings, IdentitySettings())
