"""SQL of auth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset, paged
from services.auth.domain.keys import ApiKey, SigningKey
from services.auth.store.roles import limit_of, limit_values
from services.auth.tables import ApiKeyRow, SigningKeyRow

_KEY_COLUMNS = tuple(column for column in ApiKeyRow.__table__.columns if column.name != "digest")
_SORT_COLUMNS = {"id": ApiKeyRow.id}
_NOW = select(func.clock_timestamp())
_SECRET = select(*_KEY_COLUMNS, ApiKeyRow.digest).where(ApiKeyRow.id == bindparam("key_id"))
_BY_SUBJECT = (
    select(*_KEY_COLUMNS)
    .where(
        ApiKeyRow.tenant == bindparam("of"),
        ApiKeyRow.subject == bindparam("subject"),
        ApiKeyRow.revoke_time.is_(None),
    )
    .order_by(ApiKeyRow.id.desc())
    .limit(1)
)
_HAS_SUBJECT = text(
    """
    SELECT EXISTS (
        SELECT FROM api_keys WHERE tenant = :tenant AND subject = :subject AND revoke_time IS NULL
    ) OR EXISTS (SELECT FROM users WHERE tenant = :tenant AND 'user:' || id = :subject)
    """
)
_COUNT_USES = text(
    """
    UPDATE api_keys SET use_count = use_count + seen.count,
        last_used_time = greatest(last_used_time, seen.time)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS bigint[]), CAST(:times AS timestamptz[]))
        AS seen (id, count, time)
    WHERE api_keys.id = seen.id
    """
)


async def now(connection: AsyncConnection) -> datetime:
    """Return the time by the database's clock."""
    time: datetime = (await connection.execute(_NOW)).scalar_one()
    return time


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
            scopes=list(key.scopes),
            **limit_values(key.rate_limit),
            tenants=list(key.tenants),
            use_count=0,
            rerolled_from=key.rerolled_from,
        )
    )


async def get_api_key(connection: AsyncConnection, tenant: str, key_id: UUID) -> ApiKey | None:
    """Return a key of the tenant, or None."""
    query = select(*_KEY_COLUMNS).where(ApiKeyRow.tenant == tenant, ApiKeyRow.id == key_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _api_key(row)


async def find_secret(connection: AsyncConnection, key_id: UUID) -> tuple[ApiKey, bytes] | None:
    """Return a key of whatever tenant with the digest of its secret, or None."""
    row = (await connection.execute(_SECRET, {"key_id": key_id})).one_or_none()
    return None if row is None else (_api_key(row), row.digest)


async def find_by_subject(connection: AsyncConnection, tenant: str, subject: str) -> ApiKey | None:
    """Return the latest key of a subject that is not revoked, or None."""
    found = await connection.execute(_BY_SUBJECT, {"of": tenant, "subject": subject})
    row = found.one_or_none()
    return None if row is None else _api_key(row)


async def has_subject(connection: AsyncConnection, tenant: str, subject: str) -> bool:
    """Tell whether there is a user or a key of this subject in the tenant."""
    found = await connection.execute(_HAS_SUBJECT, {"tenant": tenant, "subject": subject})
    return bool(found.scalar_one())


async def end_key_at(connection: AsyncConnection, tenant: str, key_id: UUID, end: datetime) -> None:
    """Have a key expire at a time, unless it does before."""
    await connection.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.tenant == tenant, ApiKeyRow.id == key_id)
        .values(expire_time=func.least(func.coalesce(ApiKeyRow.expire_time, end), end))
    )


async def count_uses(
    connection: AsyncConnection, uses: Sequence[tuple[UUID, int, datetime]]
) -> None:
    """Add to the uses of keys; each with how many, and when the last was."""
    ids, counts, times = zip(*sorted(uses), strict=True)
    values = {"ids": list(ids), "counts": list(counts), "times": list(times)}
    await connection.execute(_COUNT_USES, values)


async def list_api_keys(
    connection: AsyncConnection, tenant: str, name: str, page: Keyset
) -> list[ApiKey]:
    """Return up to `page.size + 1` keys of the tenant, in the order of the page.

    Only those whose name contains `name`, whatever the case.
    """
    query = select(*_KEY_COLUMNS).where(ApiKeyRow.tenant == tenant)
    if name:
        query = query.where(ApiKeyRow.display_name.icontains(name, autoescape=True))
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
            sign_time=key.sign_time,
        )
    )


async def delete_signing_keys(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Delete signing keys whose tokens have all expired."""
    await connection.execute(delete(SigningKeyRow).where(SigningKeyRow.id.in_(ids)))


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
        scopes=tuple(row.scopes),
        rate_limit=limit_of(row),
        tenants=tuple(row.tenants),
        last_used_time=row.last_used_time,
        use_count=row.use_count,
        rerolled_from=row.rerolled_from,
    )
