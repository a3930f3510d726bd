"""Ends sessions, and with each, at once, the access tokens that it gave."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.auth.domain.sessions import Session
from services.auth.store import sessions as store
from services.auth.usecases.revocations import Revocations


class SessionEndings:
    """Ends sessions within a transaction of its caller's."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations

    async def end(
        self, connection: AsyncConnection, session: Session, *, reused: bool = False
    ) -> None:
        """End a session; one that has ended stays as it is."""
        if await store.end_session(connection, session.id, reused=reused):
            await self._revocations.revoke(connection, session.tenant, str(session.id))

    async def end_all(
        self, connection: AsyncConnection, tenant: str, user_id: UUID, *, spared: UUID | None = None
    ) -> None:
        """End all sessions of a user but the spared one."""
        for session_id in await store.end_sessions(connection, user_id, spared=spared):
            await self._revocations.revoke(connection, tenant, str(session_id))
