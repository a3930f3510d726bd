"""SQL of sessions and their refresh tokens."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset, paged
from services.auth.domain.sessions import Family, Session
from services.auth.tables import SessionRow

_FAMILY: Final = ("current", "predecessor", "replace_time")
_COLUMNS: Final = tuple(
    column for column in SessionRow.__table__.columns if column.name not in _FAMILY
)
_SORT_COLUMNS: Final = {"id": SessionRow.id}
_GET: Final = select(*_COLUMNS).where(SessionRow.id == bindparam("session_id"))
_LOCK: Final = (
    select(*SessionRow.__table__.columns)
    .where(SessionRow.id == bindparam("session_id"))
    .with_for_update()
)
_ROTATE: Final = text(
    """
    UPDATE sessions SET refresh_time = now(), expire_time = :expire_time,
        current = :current, predecessor = :predecessor, replace_time = :replace_time
    WHERE id = :session_id
    """
)
_END: Final = text(
    """
    UPDATE sessions SET end_time = now(), reused = :reused
    WHERE id = :session_id AND end_time IS NULL
    """
)
# In the order of their ids, so that two that end the same sessions don't wait for each other.
_END_ALL: Final = text(
    """
    UPDATE sessions SET end_time = now() WHERE id = ANY(ARRAY(
        SELECT id FROM sessions
        WHERE user_id = :user_id AND end_time IS NULL AND id IS DISTINCT FROM :spared
        ORDER BY id FOR UPDATE
    ))
    RETURNING id
    """
).bindparams(bindparam("spared", type_=SessionRow.id.type))


async def insert_session(connection: AsyncConnection, session: Session, family: Family) -> None:
    """Store a new session with the digest of its first refresh token."""
    await connection.execute(
        insert(SessionRow),
        {
            "id": session.id,
            "tenant": session.tenant,
            "user_id": session.user_id,
            "create_time": session.create_time,
            "refresh_time": session.refresh_time,
            "expire_time": session.expire_time,
            "address": session.address,
            "user_agent": session.user_agent,
            "reused": False,
            "current": family.current,
        },
    )


async def get_session(connection: AsyncConnection, session_id: UUID) -> Session | None:
    """Return a session of whatever tenant, or None."""
    row = (await connection.execute(_GET, {"session_id": session_id})).one_or_none()
    return None if row is None else _session(row)


async def lock_session(
    connection: AsyncConnection, session_id: UUID
) -> tuple[Session, Family] | None:
    """Return a session that nobody else changes until the transaction ends, or None."""
    row = (await connection.execute(_LOCK, {"session_id": session_id})).one_or_none()
    if row is None:
        return None
    return _session(row), Family(row.current, row.predecessor, row.replace_time)


async def list_sessions(
    connection: AsyncConnection, tenant: str, user_id: UUID, page: Keyset
) -> list[Session]:
    """Return up to `page.size + 1` sessions of a user that go on, in the order of the page."""
    query = select(*_COLUMNS).where(
        SessionRow.tenant == tenant,
        SessionRow.user_id == user_id,
        SessionRow.end_time.is_(None),
        SessionRow.expire_time > func.now(),
    )
    rows = await connection.execute(paged(query, page, _SORT_COLUMNS))
    return [_session(row) for row in rows]


async def rotate(connection: AsyncConnection, session: Session, family: Family) -> None:
    """Store what a refresh has changed: the family, and `expire_time`."""
    await connection.execute(
        _ROTATE,
        {
            "session_id": session.id,
            "expire_time": session.expire_time,
            "current": family.current,
            "predecessor": family.predecessor,
            "replace_time": family.replace_time,
        },
    )


async def end_session(
    connection: AsyncConnection, session_id: UUID, *, reused: bool = False
) -> bool:
    """End a session; return False if it had ended before."""
    values = {"session_id": session_id, "reused": reused}
    return (await connection.execute(_END, values)).rowcount == 1


async def end_sessions(
    connection: AsyncConnection, user_id: UUID, *, spared: UUID | None = None
) -> list[UUID]:
    """End all sessions of a user but the spared one; return those that this has ended."""
    rows = await connection.execute(_END_ALL, {"user_id": user_id, "spared": spared})
    return list(rows.scalars())


def _session(row: Any) -> Session:
    return Session(
        id=row.id,
        tenant=row.tenant,
        user_id=row.user_id,
        create_time=row.create_time,
        refresh_time=row.refresh_time,
        expire_time=row.expire_time,
        address=row.address,
        user_agent=row.user_agent,
        end_time=row.end_time,
        reused=row.reused,
    )
