"""An audit log with keys that sign its heads, and whoever rules over its database."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from agentmesh.audit import Checkpoints, Proof, verify
from mesh.auth.v1 import token_pb2
from meshkit.audit import Decision, Record
from meshkit.database.engine import Database
from meshkit.ids import uuid7
from meshkit.paging import keyset
from services.auth.convert.audit import checkpoint_to_proto, link_to_proto
from services.auth.domain.audit import Checkpoint, Link
from services.auth.usecases import audit
from services.auth.usecases.audit import LATEST_CHECKPOINT_FIRST

TIME = datetime(2026, 1, 31, 9, tzinfo=UTC)


def a_record(tenant: str = "acme", **given: Any) -> Record:
    values: dict[str, Any] = {
        "id": uuid7(),
        "tenant": tenant,
        "time": TIME,
        "subject": "user:1",
        "actor": "service:task key:2",
        "method": "/mesh.auth.v1.AuthService/CreateApiKey",
        "resource": "key-1",
        "decision": Decision.ALLOWED,
        "reason": "held key:create",
        "request_id": "r-1",
        "address": "203.0.113.9",
        "service": "auth",
    }
    return Record(**values | given)


class Keys:
    """Signs by the latest of some keys, and publishes them."""

    def __init__(self) -> None:
        self.pairs: dict[str, Ed25519PrivateKey] = {}
        self.names = count()
        self.rotate()

    def rotate(self) -> None:
        self.current = f"key-{next(self.names)}"
        self.pairs[self.current] = Ed25519PrivateKey.generate()

    async def sign(self, said: str) -> tuple[str, bytes]:
        return self.current, self.pairs[self.current].sign(said.encode())

    def published(self) -> token_pb2.JsonWebKeySet:
        jwks = token_pb2.JsonWebKeySet()
        for name, pair in self.pairs.items():
            x = base64.urlsafe_b64encode(pair.public_key().public_bytes_raw()).decode()
            jwks.keys.add(kid=name, kty="OKP", crv="Ed25519", x=x.rstrip("="))
        return jwks


class Ledger:
    """A log of which the tenant acme's chain is looked at."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keys = Keys()
        self.log = audit.AuditLog(database)
        self.checkpoints = audit.Checkpoints(database, self.keys.sign, interval=60)

    async def store(self, *records: Record) -> None:
        await self.log.store(records)

    async def sign(self) -> None:
        await self.checkpoints.sign_heads()

    async def chain(self, tenant: str = "acme") -> list[Link]:
        return [link async for link in self.log.export(tenant, 0)]

    async def signed(self) -> list[Checkpoint]:
        page = keyset(1000, "", LATEST_CHECKPOINT_FIRST, "acme")
        return list((await self.log.list_checkpoints("acme", page)).items)

    async def proof(self) -> Proof:
        """Verify the chain, as anybody may."""
        checkpoints = Checkpoints(self.keys.published())
        for each in await self.signed():
            checkpoints.add(checkpoint_to_proto(each))
        return verify([link_to_proto(link) for link in await self.chain()], checkpoints)

    async def tamper(self, *statements: str) -> None:
        """Do what only somebody who rules over the database can."""

        async def work(connection: Any) -> None:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                await connection.execute(text(statement))

        await self.database.transaction(work)
