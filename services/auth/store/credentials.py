"""SQL of service credentials."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset, paged
from services.auth.domain.credentials import ServiceCredential
from services.auth.domain.proofs import Proof, kind_of, proof_of, settings_of
from services.auth.envelopes import Envelope
from services.auth.tables import ServiceCredentialRow as Row

_SORT_COLUMNS: Final = {"name": Row.name}
_SHOWN: Final = (Row.tenant, Row.name, Row.kind, Row.settings, Row.create_time, Row.update_time)
_REPLACED: Final = ("kind", "settings", "sealed_key", "sealed_secret", "update_time")

_INSERT: Final = insert(Row).values(create_time=func.now(), update_time=func.now())
_PUT: Final = _INSERT.on_conflict_do_update(
    index_elements=[Row.tenant, Row.name],
    set_={name: _INSERT.excluded[name] for name in _REPLACED},
).returning(Row.create_time, Row.update_time)
_THIS: Final = (Row.tenant == bindparam("tenant_"), Row.name == bindparam("name_"))
_GET: Final = select(*_SHOWN).where(*_THIS)
_FIND_SECRET: Final = select(*_SHOWN, Row.sealed_key, Row.sealed_secret).where(*_THIS)
_DELETE: Final = delete(Row).where(*_THIS)


async def put_credential(
    connection: AsyncConnection, tenant: str, name: str, proof: Proof, envelope: Envelope
) -> tuple[datetime, datetime]:
    """Store a credential in place of an earlier one; return when it was created and replaced."""
    row = {
        "tenant": tenant,
        "name": name,
        "kind": kind_of(proof),
        "settings": settings_of(proof),
        "sealed_key": envelope.sealed_key,
        "sealed_secret": envelope.sealed_secret,
    }
    times = (await connection.execute(_PUT, row)).one()
    return times.create_time, times.update_time


async def get_credential(
    connection: AsyncConnection, tenant: str, name: str
) -> ServiceCredential | None:
    """Return a credential of the tenant, or None."""
    row = (await connection.execute(_GET, _this(tenant, name))).one_or_none()
    return None if row is None else _credential(row)


async def find_secret(
    connection: AsyncConnection, tenant: str, name: str
) -> tuple[ServiceCredential, Envelope] | None:
    """Return a credential of the tenant with its sealed secret, or None."""
    row = (await connection.execute(_FIND_SECRET, _this(tenant, name))).one_or_none()
    return None if row is None else (_credential(row), Envelope(row.sealed_key, row.sealed_secret))


async def list_credentials(
    connection: AsyncConnection, tenant: str, page: Keyset
) -> list[ServiceCredential]:
    """Return up to `page.size + 1` credentials of the tenant, in the order of the page."""
    query = select(*_SHOWN).where(Row.tenant == tenant)
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_credential(row) for row in rows]


async def delete_credential(connection: AsyncConnection, tenant: str, name: str) -> None:
    """Forget a credential of the tenant, if there is one."""
    await connection.execute(_DELETE, _this(tenant, name))


def _this(tenant: str, name: str) -> dict[str, str]:
    return {"tenant_": tenant, "name_": name}


def _credential(row: Any) -> ServiceCredential:
    return ServiceCredential(
        tenant=row.tenant,
        name=row.name,
        proof=proof_of(row.kind, row.settings),
        create_time=row.create_time,
        update_time=row.update_time,
    )
