"""Refreshes, shows and ends sessions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.audit import note
from meshkit.database.engine import Database
from meshkit.errors import DomainError, PermissionDenied
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.principal import Principal
from services.auth.domain.sessions import Session, SessionLimits
from services.auth.domain.users import subject_of, user_of
from services.auth.errors import (
    RefreshTokenRefused,
    RefreshTokenReused,
    SessionNotFound,
    UserNotFound,
)
from services.auth.settings import AuthSettings
from services.auth.store import sessions as store
from services.auth.store import users as user_store
from services.auth.store.keys import now
from services.auth.usecases.access import AccessTokens, TokenPair
from services.auth.usecases.endings import SessionEndings
from services.auth.usecases.refresh_tokens import RefreshToken, RefreshTokens

log = structlog.get_logger()

_SEE_OTHERS = "user:read"
_END_OTHERS = "user:disable"


class Sessions:
    """What there is to do with a session once it is open."""

    def __init__(
        self,
        database: Database,
        access: AccessTokens,
        refresh_tokens: RefreshTokens,
        endings: SessionEndings,
        settings: AuthSettings,
    ) -> None:
        self._database = database
        self._access = access
        self._refresh_tokens = refresh_tokens
        self._endings = endings
        self._grace = timedelta(seconds=settings.refresh_grace)
        self._limits = SessionLimits(
            timedelta(seconds=settings.session_idle), timedelta(seconds=settings.session_max)
        )

    async def refresh(self, text: str) -> TokenPair:
        """Exchange a refresh token for a new pair.

        Raises:
            RefreshTokenReused: A token of the session was used twice; it has ended.
            RefreshTokenRefused: It is no token, or its session has ended or expired.
        """
        presented = self._refresh_tokens.read(text)
        if presented is None:
            raise RefreshTokenRefused
        extended = await self._database.read(lambda tx: self._extended(tx, presented.session_id))
        if isinstance(extended, DomainError):
            raise extended
        # Signed first: whatever ends the session until the transaction does ends this token too.
        access = await self._access.sign_for(extended)
        successor = self._refresh_tokens.make(presented.session_id)
        rotated = await self._database.transaction(
            lambda tx: self._rotate(tx, presented, successor)
        )
        if isinstance(rotated, DomainError):
            raise rotated
        lifetime = rotated.expire_time - rotated.refresh_time
        return TokenPair(access, successor.text, lifetime)

    async def sign_out(self, text: str) -> None:
        """End the session of a refresh token; whatever works no more is well ended already."""
        presented = self._refresh_tokens.read(text)
        if presented is None:
            return

        async def work(connection: AsyncConnection) -> None:
            session = await store.get_session(connection, presented.session_id)
            if session is not None:
                _note(session)
                await self._endings.end(connection, session)

        await self._database.transaction(work)

    async def list(
        self, caller: Principal, user_id: UUID | None, page: Keyset
    ) -> KeysetPage[Session]:
        """Return a page of the sessions of a user, or the caller if none is named, that go on.

        Raises:
            PermissionDenied: The caller may not see another user's.
            UserNotFound: There is no such user in the caller's tenant.
        """
        own = user_of(caller.subject)
        wanted = own if user_id is None else user_id
        if wanted is None:
            return KeysetPage((), "")
        if wanted != own:
            await self._check_may_see(caller, wanted)
        sessions = await self._database.read(
            lambda tx: store.list_sessions(tx, caller.tenant, wanted, page)
        )
        return keyset_page(sessions, page, lambda session: {"id": session.id})

    async def end(self, caller: Principal, session_id: UUID) -> None:
        """End a session; one that has ended stays as it is.

        Raises:
            SessionNotFound: There is none that the caller may end.
        """

        async def work(connection: AsyncConnection) -> bool:
            session = await store.get_session(connection, session_id)
            if session is None or not _may_end(caller, session):
                return False
            await self._endings.end(connection, session)
            return True

        if not await self._database.transaction(work):
            raise SessionNotFound

    async def _check_may_see(self, caller: Principal, user_id: UUID) -> None:
        if not caller.may(_SEE_OTHERS):
            raise PermissionDenied(
                f"To see another user's sessions takes the permission {_SEE_OTHERS}.",
                metadata={"permission": _SEE_OTHERS},
            )
        tenant = caller.tenant
        if await self._database.read(lambda tx: user_store.get_user(tx, tenant, user_id)) is None:
            raise UserNotFound

    async def _extended(
        self, connection: AsyncConnection, session_id: UUID
    ) -> Session | DomainError:
        """Return the session as a refresh would leave it, or why there can be none."""
        session = await store.get_session(connection, session_id)
        if session is not None:
            _note(session)
        moment = await now(connection)
        if session is None or not session.goes_on_at(moment):
            return _refusal(session)
        expiry = self._limits.expiry(session.create_time, moment)
        return replace(session, refresh_time=moment, expire_time=expiry)

    async def _rotate(
        self, connection: AsyncConnection, presented: RefreshToken, successor: RefreshToken
    ) -> Session | DomainError:
        """Replace a token that works; one that was used before ends the session.

        Errors are returned, not raised, for an end is to be committed.
        """
        locked = await store.lock_session(connection, presented.session_id)
        moment = await now(connection)
        if locked is None or not locked[0].goes_on_at(moment):
            return _refusal(locked[0] if locked else None)
        session, family = locked
        if not family.accepts(presented.digest, moment, self._grace):
            log.warning("refresh token reused", session_id=str(session.id))
            await self._endings.end(connection, session, reused=True)
            return RefreshTokenReused()
        expiry = self._limits.expiry(session.create_time, moment)
        session = replace(session, refresh_time=moment, expire_time=expiry)
        rotated = family.exchanged(presented.digest, successor.digest, moment)
        await store.rotate(connection, session, rotated)
        return session


def _note(session: Session) -> None:
    note(subject=subject_of(session.user_id), tenant=session.tenant, resource=str(session.id))


def _refusal(session: Session | None) -> DomainError:
    return RefreshTokenReused() if session is not None and session.reused else RefreshTokenRefused()


def _may_end(caller: Principal, session: Session) -> bool:
    if session.tenant != caller.tenant:
        return False
    return caller.subject == subject_of(session.user_id) or caller.may(_END_OTHERS)
