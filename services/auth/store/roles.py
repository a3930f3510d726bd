"""SQL of roles and of who has them."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.limits.rate import RateLimit
from meshkit.paging import Keyset, paged
from services.auth.domain.roles import Binding, Role
from services.auth.tables import RoleBindingRow

_COLUMNS: Final = (
    "name, description, permissions, inherits, per_second, burst, create_time, version"
)
# ruff: noqa: S608 - the names are the table's own
_OF_TENANT: Final = text(f"SELECT {_COLUMNS} FROM roles WHERE tenant = :tenant ORDER BY name")
_INSERT: Final = text(
    f"""
    INSERT INTO roles (tenant, {_COLUMNS})
    VALUES (:tenant, :name, :description, :permissions, :inherits, :per_second, :burst, now(), 1)
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
    """
)
_UPDATE: Final = text(
    f"""
    UPDATE roles SET description = :description, permissions = :permissions,
        inherits = :inherits, per_second = :per_second, burst = :burst, version = version + 1
    WHERE tenant = :tenant AND name = :name RETURNING {_COLUMNS}
    """
)
_DELETE: Final = text("DELETE FROM roles WHERE tenant = :tenant AND name = :name RETURNING name")
# Roles are changed one transaction after another, so that none is taken away while it is given.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('roles:' || :tenant, 0))")
_USES: Final = text(
    """
    SELECT subject FROM role_bindings WHERE tenant = :tenant AND role = :name
    UNION ALL SELECT 'key:' || id FROM api_keys
    WHERE tenant = :tenant AND :name = ANY(roles) AND revoke_time IS NULL
    UNION ALL SELECT 'the role ' || name FROM roles WHERE tenant = :tenant AND :name = ANY(inherits)
    LIMIT 1
    """
)
_BINDING: Final = "id, tenant, subject, role, creator, create_time"
_BIND: Final = text(
    f"""
    INSERT INTO role_bindings ({_BINDING}) VALUES (:id, :tenant, :subject, :role, :creator, now())
    ON CONFLICT (tenant, subject, role) DO UPDATE SET role = excluded.role RETURNING {_BINDING}
    """
)
_BINDINGS_OF: Final = text(
    f"""
    SELECT {_BINDING} FROM role_bindings WHERE tenant = :tenant AND subject = :subject ORDER BY id
    """
)
_SORT_COLUMNS: Final = {"id": RoleBindingRow.id}


async def lock_roles(connection: AsyncConnection, tenant: str) -> None:
    """Keep others from changing the tenant's roles until this transaction ends."""
    await connection.execute(_LOCK, {"tenant": tenant})


async def list_roles(connection: AsyncConnection, tenant: str) -> list[Role]:
    """Return the tenant's own roles, by name."""
    return [_role(row) for row in await connection.execute(_OF_TENANT, {"tenant": tenant})]


async def insert_role(connection: AsyncConnection, tenant: str, role: Role) -> Role | None:
    """Store a new role and return it; None if there is one of this name."""
    row = (await connection.execute(_INSERT, _values(tenant, role))).one_or_none()
    return None if row is None else _role(row)


async def update_role(connection: AsyncConnection, tenant: str, role: Role) -> Role:
    """Store a role that there is, and return it."""
    return _role((await connection.execute(_UPDATE, _values(tenant, role))).one())


async def delete_role(connection: AsyncConnection, tenant: str, name: str) -> bool:
    """Delete a role; return False if there is none of this name."""
    deleted = await connection.execute(_DELETE, {"tenant": tenant, "name": name})
    return deleted.one_or_none() is not None


async def find_use(connection: AsyncConnection, tenant: str, name: str) -> str | None:
    """Return somebody who has a role, or a role that inherits it, if there is one."""
    found = await connection.execute(_USES, {"tenant": tenant, "name": name})
    use: str | None = found.scalar_one_or_none()
    return use


async def put_binding(
    connection: AsyncConnection,
    binding_id: UUID,
    *,
    tenant: str,
    subject: str,
    role: str,
    creator: str,
) -> Binding:
    """Give a role to a subject and return the binding, an older one if there is one."""
    values = {
        "id": binding_id,
        "tenant": tenant,
        "subject": subject,
        "role": role,
        "creator": creator,
    }
    return _binding((await connection.execute(_BIND, values)).one())


async def bindings_of(connection: AsyncConnection, tenant: str, subject: str) -> list[Binding]:
    """Return what gives roles to a subject."""
    rows = await connection.execute(_BINDINGS_OF, {"tenant": tenant, "subject": subject})
    return [_binding(row) for row in rows]


async def list_bindings(
    connection: AsyncConnection, tenant: str, subject: str, role: str, page: Keyset
) -> list[Binding]:
    """Return up to `page.size + 1` bindings of the tenant, in the order of the page."""
    query = select(RoleBindingRow.__table__).where(RoleBindingRow.tenant == tenant)
    if subject:
        query = query.where(RoleBindingRow.subject == subject)
    if role:
        query = query.where(RoleBindingRow.role == role)
    return [_binding(row) for row in await connection.execute(paged(query, page, _SORT_COLUMNS))]


async def delete_binding(
    connection: AsyncConnection, tenant: str, binding_id: UUID
) -> Binding | None:
    """Delete a binding and return it; None if there is none."""
    statement = (
        delete(RoleBindingRow)
        .where(RoleBindingRow.tenant == tenant, RoleBindingRow.id == binding_id)
        .returning(RoleBindingRow.__table__)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _binding(row)


def limit_of(row: Any) -> RateLimit | None:
    """Read a rate limit from a row with `per_second` and `burst`, which may both be null."""
    return None if row.per_second is None else RateLimit(row.per_second, row.burst)


def limit_values(limit: RateLimit | None) -> dict[str, Any]:
    """Return the columns of a rate limit."""
    return {
        "per_second": None if limit is None else limit.per_second,
        "burst": None if limit is None else limit.burst,
    }


def _values(tenant: str, role: Role) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "name": role.name,
        "description": role.description,
        "permissions": list(role.permissions),
        "inherits": list(role.inherits),
        **limit_values(role.rate_limit),
    }


def _role(row: Any) -> Role:
    return Role(
        name=row.name,
        description=row.description,
        permissions=tuple(row.permissions),
        inherits=tuple(row.inherits),
        rate_limit=limit_of(row),
        create_time=row.create_time,
        version=row.version,
    )


def _binding(row: Any) -> Binding:
    return Binding(row.id, row.tenant, row.subject, row.role, row.creator, row.create_time)
