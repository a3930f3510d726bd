"""Credentials that are good in all but one thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from agentmesh.stack.composition import database_name
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.secrets import MASTER, SecretFiles
from meshkit.database.engine import Database
from meshkit.ids import uuid7
from meshkit.settings import DatabaseSettings, IdentitySettings
from services.auth.secrets import compose, new_secret
from services.auth.settings import AuthSettings
from tests.e2e.mesh import RunningMesh
from tests.integration.auth.replicas import Replica

TOKENS: Final[dict[str, dict[str, Any]]] = {
    "expired": {"claims": {"exp": datetime(2020, 1, 1, tzinfo=UTC)}},
    "wrong audience": {"claims": {"aud": "another mesh"}},
    "wrong issuer": {"claims": {"iss": "another issuer"}},
    "HS256 with the public key": {"algorithm": "HS256"},
    "alg none": {"algorithm": "none"},
    "wrong typ": {"headers": {"typ": "JWT"}},
    "unknown kid": {"headers": {"kid": "unknown"}},
}
"""How each of these tokens is signed by the mesh's own key."""

TEXTS: Final = {
    "garbage": "x.y.z",
    "not base64": "!.!.!",
    "malformed key": "mesh_dev_nonsense",
    "overlong": f"mesh_{'x' * 4000}",
}
BAD: Final = [
    "none",
    "another scheme",
    *TEXTS,
    *TOKENS,
    "signed by another",
    "altered",
    "unknown key",
    "revoked key",
]


class Forger:
    """Makes credentials for a running mesh, with its own signing key."""

    def __init__(self, mesh: RunningMesh, auth: Replica) -> None:
        self._mesh = mesh
        self.auth = auth

    async def bad(self, name: str) -> dict[str, str]:
        """Return the headers of a credential that is no good."""
        if name == "none":
            return {}
        if name == "another scheme":
            return {"authorization": "Basic eDp5"}
        return bearer(await self._text(name))

    async def good(self, *permissions: str, **claims: Any) -> dict[str, str]:
        """Return the headers of a token that holds the permissions."""
        return bearer(await self.auth.sign({"scope": " ".join(permissions), **claims}))

    async def _text(self, name: str) -> str:
        if name in TEXTS:
            return TEXTS[name]
        if name in TOKENS:
            return await self.auth.sign(**TOKENS[name])
        made = {
            "signed by another": self._signed_by_another,
            "altered": self._altered,
            "unknown key": self._unknown_key,
            "revoked key": self._revoked_key,
        }
        return await made[name]()

    async def _signed_by_another(self) -> str:
        good = await self.auth.sign()
        claims = jwt.decode(good, options={"verify_signature": False})
        claims["exp"] = datetime.now(UTC) + timedelta(minutes=5)
        headers = jwt.get_unverified_header(good)
        return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", headers)

    async def _altered(self) -> str:
        less, more = await self.auth.sign({"scope": ""}), await self.auth.sign()
        return ".".join((*more.split(".")[:2], less.split(".")[2]))

    async def _unknown_key(self) -> str:
        return compose("dev", uuid7(), new_secret())

    async def _revoked_key(self) -> str:
        async with self._mesh.client() as client:
            key = await client.create_api_key("to be revoked", ["admin"])
            await client.revoke_api_key(key.id)
        return key.secret


def bearer(credential: str) -> dict[str, str]:
    """Return the headers that carry a credential."""
    return {"authorization": f"Bearer {credential}"}


@asynccontextmanager
async def forger(mesh: RunningMesh) -> AsyncIterator[Forger]:
    """Open the database of the mesh's auth service, with its master key."""
    directory = DataDirectory(mesh.data_dir)
    url = EmbeddedPostgres(directory.postgres).url(database_name("auth"))
    master_key = SecretFiles(directory.secrets).read(MASTER)
    assert master_key
    database = Database(DatabaseSettings(url=SecretStr(url)))
    settings = AuthSettings(master_key=SecretStr(master_key))
    try:
        yield Forger(mesh, Replica(database, settings, IdentitySettings()))
    finally:
        await database.close()
