"""SQL of the audit log. What was appended is never changed: triggers refuse to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.audit.record import Decision, Record
from meshkit.filtering import Columns, Filter, to_sql
from meshkit.paging import Keyset, paged
from services.auth.domain.audit import Checkpoint, Head, Link
from services.auth.tables import AuditCheckpointRow, AuditRecordRow

_EMPTY: Final = literal_column("''", Text)
_SORT_COLUMNS: Final = {
    "sequence": AuditRecordRow.sequence,
}
_CHECKPOINT_SORT_COLUMNS: Final = {
    "sequence": AuditCheckpointRow.sequence,
    "key_id": AuditCheckpointRow.key_id,
}
_FILTER_COLUMNS: Final[Columns] = {
    # A record has not what is empty in it.
    "subject": func.nullif(AuditRecordRow.subject, _EMPTY),
    "actor": func.nullif(AuditRecordRow.actor, _EMPTY),
    "resource": func.nullif(AuditRecordRow.resource, _EMPTY),
    "request_id": func.nullif(AuditRecordRow.request_id, _EMPTY),
    "method": AuditRecordRow.method,
    "decision": AuditRecordRow.decision,
    "service": AuditRecordRow.service,
    "time": AuditRecordRow.time,
}
_RECORDS: Final = select(AuditRecordRow.__table__)
_CHECKPOINTS: Final = select(AuditCheckpointRow.__table__)

_BEGIN: Final = text(
    """
    INSERT INTO audit_chains (tenant, sequence, hash) VALUES (:tenant, 0, :genesis)
    ON CONFLICT DO NOTHING
    """
)
_LOCK: Final = text("SELECT sequence, hash FROM audit_chains WHERE tenant = :tenant FOR UPDATE")
_KNOWN: Final = text("SELECT id FROM audit_records WHERE id = ANY(CAST(:ids AS uuid[]))")
_COLUMNS: Final = (
    ("tenant", "text"),
    ("sequence", "bigint"),
    ("id", "uuid"),
    ("time", "timestamptz"),
    ("subject", "text"),
    ("actor", "text"),
    ("method", "text"),
    ("resource", "text"),
    ("decision", "text"),
    ("reason", "text"),
    ("request_id", "text"),
    ("address", "text"),
    ("service", "text"),
    ("hash", "text"),
)
_NAMES: Final = ", ".join(name for name, _ in _COLUMNS)
_ARRAYS: Final = ", ".join(f"CAST(:{name} AS {type_}[])" for name, type_ in _COLUMNS)
_APPEND: Final = text(f"INSERT INTO audit_records ({_NAMES}) SELECT * FROM unnest({_ARRAYS})")  # noqa: S608 - constants
_MOVE: Final = text(
    "UPDATE audit_chains SET sequence = :sequence, hash = :hash WHERE tenant = :tenant"
)
_EXPORT: Final = text(
    f"SELECT {_NAMES} FROM audit_records"  # noqa: S608 - constants
    " WHERE tenant = :tenant AND sequence > :after ORDER BY sequence LIMIT :size"
)
_DUE: Final = """
    sequence > 0 AND (sequence > signed_sequence OR signed_by <> :key_id)
    AND sign_time <= now() - CAST(:interval AS interval)
"""
_UNSIGNED: Final = text(
    f"SELECT tenant, sequence, hash FROM audit_chains WHERE {_DUE} ORDER BY tenant"  # noqa: S608 - constants
)
# The condition is judged anew once the row's lock is had, so that one replica signs, not each.
_SIGN: Final = text(
    f"""
    WITH signed AS (
        UPDATE audit_chains
        SET signed_sequence = :sequence, signed_by = :key_id, sign_time = now()
        WHERE tenant = :tenant AND signed_sequence <= :sequence AND {_DUE}
        RETURNING tenant
    )
    INSERT INTO audit_checkpoints (tenant, sequence, key_id, hash, time, signature)
    SELECT tenant, :sequence, :key_id, :hash, now(), :signature FROM signed
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - constants
)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A chain whose head is to be signed."""

    tenant: str
    head: Head


async def lock_chain(connection: AsyncConnection, tenant: str) -> Head:
    """Return how far a chain has come, and keep others from appending to it."""
    begun = Head()
    await connection.execute(_BEGIN, {"tenant": tenant, "genesis": begun.hash})
    row = (await connection.execute(_LOCK, {"tenant": tenant})).one()
    return Head(row.sequence, row.hash)


async def known_ids(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the ids are stored already, in whatever chain."""
    return set((await connection.execute(_KNOWN, {"ids": list(ids)})).scalars())


async def append(connection: AsyncConnection, tenant: str, links: Sequence[Link]) -> None:
    """Append links, at least one, to the chain, which the caller has locked."""
    rows = [_values(link) for link in links]
    await connection.execute(_APPEND, {name: [row[name] for row in rows] for name, _ in _COLUMNS})
    last = links[-1]
    await connection.execute(
        _MOVE, {"tenant": tenant, "sequence": last.sequence, "hash": last.hash}
    )


async def list_records(
    connection: AsyncConnection, tenant: str, wanted: Filter | None, page: Keyset
) -> list[Link]:
    """Return up to `page.size + 1` records of the tenant, in the order of the page."""
    query = _RECORDS.where(AuditRecordRow.tenant == tenant)
    if wanted is not None:
        query = query.where(to_sql(wanted, _FILTER_COLUMNS))
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_link(row) for row in rows]


async def records_after(
    connection: AsyncConnection, tenant: str, after: int, size: int
) -> list[Link]:
    """Return up to `size` records of the tenant in the order of the chain."""
    wanted = {"tenant": tenant, "after": after, "size": size}
    return [_link(row) for row in await connection.execute(_EXPORT, wanted)]


async def unsigned(connection: AsyncConnection, key_id: str, interval: timedelta) -> list[Unsigned]:
    """Return the chains that have grown since they were signed, or were by another key.

    Those signed less than `interval` ago are left for later.
    """
    rows = await connection.execute(_UNSIGNED, {"key_id": key_id, "interval": interval})
    return [Unsigned(row.tenant, Head(row.sequence, row.hash)) for row in rows]


async def insert_checkpoint(
    connection: AsyncConnection, chain: Unsigned, key_id: str, signature: str, interval: timedelta
) -> None:
    """Store a checkpoint, unless the chain has been signed meanwhile."""
    await connection.execute(
        _SIGN,
        {
            "tenant": chain.tenant,
            "sequence": chain.head.sequence,
            "hash": chain.head.hash,
            "key_id": key_id,
            "signature": signature,
            "interval": interval,
        },
    )


async def list_checkpoints(
    connection: AsyncConnection, tenant: str, page: Keyset
) -> list[Checkpoint]:
    """Return up to `page.size + 1` checkpoints of the tenant, in the order of the page."""
    query = _CHECKPOINTS.where(AuditCheckpointRow.tenant == tenant)
    rows = await connection.execute(paged(query, page, _CHECKPOINT_SORT_COLUMNS))
    return [Checkpoint(**row) for row in rows.mappings()]


def _values(link: Link) -> dict[str, Any]:
    record = link.record
    return {
        "tenant": record.tenant,
        "sequence": link.sequence,
        "id": record.id,
        "time": record.time,
        "subject": record.subject,
        "actor": record.actor,
        "method": record.method,
        "resource": record.resource,
        "decision": record.decision.value,
        "reason": record.reason,
        "request_id": record.request_id,
        "address": record.address,
        "service": record.service,
        "hash": link.hash,
    }


def _link(row: Any) -> Link:
    record = Record(
        id=row.id,
        tenant=row.tenant,
        time=row.time,
        subject=row.subject,
        actor=row.actor,
        method=row.method,
        resource=row.resource,
        decision=Decision(row.decision),
        reason=row.reason,
        request_id=row.request_id,
        address=row.address,
        service=row.service,
    )
    return Link(record, row.sequence, row.hash)
