"""SQL of auth."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset, paged
from services.auth.domain.keys import ApiKey, SigningKey
from services.auth.tables import ApiKeyRow, SigningKeyRow

_KEY_COLUMNS = tuple(column for column in ApiKeyRow.__table__.columns if column.name != "digest")
_SORT_COLUMNS = {"id": ApiKeyRow.id}


async def now(connection: AsyncConnection) -> datetime:
    """Return the transaction's time by the database's clock."""
    return (await connection.execute(select(func.now()))).scalar_one()


async def insert_api_key(connection: AsyncConnection, key: ApiKey, digest: bytes) -> None:
    """Store a new key with the digest of its secret."""
    await connection.execute(
        insert(ApiKeyRow).values(
            id=key.id,
            tenant=key.tenant,
            display_name=key.display_name,
            roles=list(key.roles),
            subject=key.subject,
            digest=digest,
            creator=key.creator,
            create_time=key.create_time,
            expire_time=key.expire_time,
        )
    )


async def get_api_key(connection: AsyncConnection, tenant: str, key_id: UUID) -> ApiKey | None:
    """Return a key of the tenant, or None."""
    query = select(*_KEY_COLUMNS).where(ApiKeyRow.tenant == tenant, ApiKeyRow.id == key_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _api_key(row)


async def find_secret(connection: AsyncConnection, key_id: UUID) -> tuple[ApiKey, bytes] | None:
    """Return a key of whatever tenant with the digest of its secret, or None."""
    query = select(*_KEY_COLUMNS, ApiKeyRow.digest).where(ApiKeyRow.id == key_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (_api_key(row), row.digest)


async def list_api_keys(connection: AsyncConnection, tenant: str, page: Keyset) -> list[ApiKey]:
    """Return up to `page.size + 1` keys of the tenant, in the order of the page."""
    query = select(*_KEY_COLUMNS).where(ApiKeyRow.tenant == tenant)
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_api_key(row) for row in rows]


async def revoke_api_key(connection: AsyncConnection, tenant: str, key_id: UUID) -> ApiKey | None:
    """Revoke a key of the tenant, once; return it, or None if there is none."""
    statement = (
        update(ApiKeyRow)
        .where(ApiKeyRow.tenant == tenant, ApiKeyRow.id == key_id)
        .values(revoke_time=func.coalesce(ApiKeyRow.revoke_time, func.now()))
        .returning(*_KEY_COLUMNS)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _api_key(row)


async def lock_signing_keys(connection: AsyncConnection) -> None:
    """Keep other replicas from making a signing key until this transaction ends."""
    await connection.execute(text("LOCK TABLE signing_keys IN EXCLUSIVE MODE"))


async def insert_signing_key(connection: AsyncConnection, key: SigningKey) -> None:
    """Store a new signing key."""
    await connection.execute(
        insert(SigningKeyRow).values(
            id=key.id,
            sealed_private_key=key.sealed_private_key,
            public_key=key.public_key,
            create_time=key.create_time,
        )
    )


async def list_signing_keys(connection: AsyncConnection) -> list[SigningKey]:
    """Return all signing keys, the newest first."""
    query = select(SigningKeyRow.__table__).order_by(
        SigningKeyRow.create_time.desc(), SigningKeyRow.id.desc()
    )
    return [SigningKey(**row) for row in (await connection.execute(query)).mappings()]


def _api_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        display_name=row.display_name,
        roles=tuple(row.roles),
        subject=row.subject,
        creator=row.creator,
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )
