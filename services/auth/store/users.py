"""SQL of users."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset, paged
from services.auth.domain.users import User, folded
from services.auth.tables import UserRow

# Built once: to build a statement takes longer than the database takes to answer it.
_COLUMNS: Final = tuple(
    column for column in UserRow.__table__.columns if column.name != "folded_email"
)
_THIS: Final = and_(UserRow.tenant == bindparam("of"), UserRow.id == bindparam("user_id"))
_GET: Final = select(*_COLUMNS).where(_THIS)
_FIND: Final = select(*_COLUMNS).where(UserRow.folded_email == bindparam("folded"))
_DISABLE: Final = (
    update(UserRow)
    .where(_THIS)
    .values(disable_time=func.coalesce(UserRow.disable_time, func.now()))
    .returning(*_COLUMNS)
)
_ENABLE: Final = update(UserRow).where(_THIS).values(disable_time=None).returning(*_COLUMNS)
_LOCK: Final = _GET.with_for_update()
_SIGNED_IN: Final = text(
    """
    UPDATE users SET last_login_time = now(), password_hash = coalesce(:better, password_hash)
    WHERE id = :user_id AND password_hash = :verified AND disable_time IS NULL
    """
)
_CHANGE_PASSWORD: Final = text(
    """
    UPDATE users SET password_hash = :chosen
    WHERE id = :user_id AND password_hash = :verified AND disable_time IS NULL
    """
)
_SET_PASSWORD: Final = (
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"), UserRow.disable_time.is_(None))
    .values(password_hash=bindparam("chosen"))
    .returning(*_COLUMNS)
)
_SORT_COLUMNS: Final = {"id": UserRow.id}


async def insert_user(connection: AsyncConnection, user: User) -> bool:
    """Store a new user; return False if anybody in the mesh has its address."""
    statement = insert(UserRow).values(
        id=user.id,
        tenant=user.tenant,
        email=user.email,
        folded_email=folded(user.email),
        display_name=user.display_name,
        create_time=user.create_time,
    )
    unless_taken = statement.on_conflict_do_nothing(index_elements=[UserRow.folded_email])
    return (await connection.execute(unless_taken)).rowcount == 1


async def get_user(connection: AsyncConnection, tenant: str, user_id: UUID) -> User | None:
    """Return a user of the tenant, or None."""
    return await _one(connection, _GET, _this(tenant, user_id))


async def lock_user(connection: AsyncConnection, tenant: str, user_id: UUID) -> User | None:
    """Return a user of the tenant, whom nobody else changes until the transaction ends."""
    return await _one(connection, _LOCK, _this(tenant, user_id))


async def find_user(connection: AsyncConnection, email: str) -> User | None:
    """Return the user of whatever tenant that has an address, whatever its case, or None."""
    return await _one(connection, _FIND, {"folded": folded(email)})


async def list_users(
    connection: AsyncConnection, tenant: str, query: str, page: Keyset
) -> list[User]:
    """Return up to `page.size + 1` users of the tenant, in the order of the page.

    Only those whose address or name contains `query`, whatever its case.
    """
    statement = select(*_COLUMNS).where(UserRow.tenant == tenant)
    if query:
        sought = func.lower(query)
        statement = statement.where(
            or_(
                func.strpos(UserRow.folded_email, sought) > 0,
                func.strpos(func.lower(UserRow.display_name), sought) > 0,
            )
        )
    rows = await connection.execute(paged(statement, page, _SORT_COLUMNS))
    return [_user(row) for row in rows]


async def disable_user(connection: AsyncConnection, tenant: str, user_id: UUID) -> User | None:
    """Disable a user of the tenant, once; return it, or None if there is none."""
    return await _one(connection, _DISABLE, _this(tenant, user_id))


async def enable_user(connection: AsyncConnection, tenant: str, user_id: UUID) -> User | None:
    """Enable a user of the tenant; return it, or None if there is none."""
    return await _one(connection, _ENABLE, _this(tenant, user_id))


async def note_sign_in(
    connection: AsyncConnection, user_id: UUID, verified: str, better: str | None
) -> bool:
    """Note that a user signs in, and keep a better hash of its password if there is one.

    Returns False if it is disabled or has another password than the one that was verified.
    The user stays as it is until the transaction ends.
    """
    values = {"user_id": user_id, "verified": verified, "better": better}
    return (await connection.execute(_SIGNED_IN, values)).rowcount == 1


async def change_password(
    connection: AsyncConnection, user_id: UUID, verified: str, chosen: str
) -> bool:
    """Replace the password that was verified; return False if it isn't the user's any more."""
    values = {"user_id": user_id, "verified": verified, "chosen": chosen}
    return (await connection.execute(_CHANGE_PASSWORD, values)).rowcount == 1


async def set_password(connection: AsyncConnection, user_id: UUID, chosen: str) -> User | None:
    """Give a user a password; return it, or None if it is disabled."""
    return await _one(connection, _SET_PASSWORD, {"user_id": user_id, "chosen": chosen})


def _this(tenant: str, user_id: UUID) -> dict[str, Any]:
    return {"of": tenant, "user_id": user_id}


async def _one(connection: AsyncConnection, statement: Any, values: dict[str, Any]) -> User | None:
    row = (await connection.execute(statement, values)).one_or_none()
    return None if row is None else _user(row)


def _user(row: Any) -> User:
    return User(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
