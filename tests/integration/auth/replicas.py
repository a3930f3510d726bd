"""A replica of auth put together as its process does, and keys to call it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshkit.database.engine import Database
from meshkit.security.credentials import Verifier
from meshkit.security.tokens import PublicKeys, TokenVerifier
from services.auth.secrets import MasterKey
from services.auth.servicer import AuthServicer
from services.auth.usecases import ApiKeys, Tokens

MASTER_KEY = "test master key of at least 32 characters"


@dataclass
class Replica:
    """One replica's parts."""

    database: Database
    master: MasterKey
    api_keys: ApiKeys
    tokens: Tokens
    verifier: Verifier

    @property
    def servicer(self) -> AuthServicer:
        return AuthServicer(self.api_keys, self.tokens)

    async def key(self, *roles: str, tenant: str = "acme", **rest: Any) -> str:
        """Issue a key, as the command does."""
        _, secret = await self.api_keys.issue(
            tenant=tenant, display_name="for a test", roles=roles, creator="operator", **rest
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
    master = MasterKey(master_key)
    api_keys = ApiKeys(database, master, environment="test")
    tokens = Tokens(
        database, master, api_keys, issuer="agentmesh", audience="agentmesh", lifetime=600
    )
    own = TokenVerifier(PublicKeys(tokens.public_keys), issuer="agentmesh", audience="agentmesh")
    return Replica(database, master, api_keys, tokens, Verifier(tokens=own, api_keys=api_keys))
