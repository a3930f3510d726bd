"""Signs users in by address and password."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.audit import note
from meshkit.database.engine import Database
from meshkit.ids import uuid7
from services.auth.domain.sessions import Family, Session, SessionLimits
from services.auth.domain.users import User, subject_of
from services.auth.errors import SignInBusy, SignInRefused
from services.auth.settings import AuthSettings
from services.auth.store import sessions as session_store
from services.auth.store import users as store
from services.auth.store.keys import now
from services.auth.usecases.access import AccessTokens, Origin, TokenPair
from services.auth.usecases.attempts import SignInAttempts
from services.auth.usecases.hashing import PasswordHasher
from services.auth.usecases.refresh_tokens import RefreshTokens

log = structlog.get_logger()


class SignIns:
    """Opens sessions."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        attempts: SignInAttempts,
        access: AccessTokens,
        *,
        refresh_tokens: RefreshTokens,
        settings: AuthSettings,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._attempts = attempts
        self._access = access
        self._refresh_tokens = refresh_tokens
        self._limits = SessionLimits(
            timedelta(seconds=settings.session_idle), timedelta(seconds=settings.session_max)
        )

    async def sign_in(self, email: str, password: str, origin: Origin) -> TokenPair:
        """Open a session of the user that has an address and a password.

        Raises:
            SignInRefused: Nobody has both, or not any more; which, is not said.
            SignInLocked: Too many attempts with this address have failed.
            SignInBusy: Too many passwords wait to be checked.
        """
        await self._attempts.check(email)
        user = await self._database.read(lambda tx: store.find_user(tx, email))
        if user is not None:
            note(subject=subject_of(user.id), tenant=user.tenant)
        verified = None if user is None else user.usable_hash
        if not await self._hasher.verify(verified, password) or user is None or verified is None:
            await self._attempts.fail(email)
            raise SignInRefused
        return await self._open(user, verified, await self._better_hash(verified, password), origin)

    async def _open(
        self, user: User, verified: str, better: str | None, origin: Origin
    ) -> TokenPair:
        session = await self._new_session(user, origin)
        refresh = self._refresh_tokens.make(session.id)
        # Signed first: whatever ends the session once it is there ends this token too.
        access = await self._access.sign_for(session)

        async def work(connection: AsyncConnection) -> bool:
            await self._attempts.succeed(connection, user.email)
            if not await store.note_sign_in(connection, user.id, verified, better):
                return False
            await session_store.insert_session(connection, session, Family(refresh.digest))
            return True

        if not await self._database.transaction(work):
            raise SignInRefused
        log.info("signed in", user_id=str(user.id), session_id=str(session.id))
        return TokenPair(access, refresh.text, session.expire_time - session.create_time)

    async def _new_session(self, user: User, origin: Origin) -> Session:
        begun = await self._database.read(now)
        return Session(
            id=uuid7(),
            tenant=user.tenant,
            user_id=user.id,
            create_time=begun,
            refresh_time=begun,
            expire_time=self._limits.expiry(begun, begun),
            address=origin.address,
            user_agent=origin.user_agent,
        )

    async def _better_hash(self, password_hash: str, password: str) -> str | None:
        if not self._hasher.is_outdated(password_hash):
            return None
        try:
            return await self._hasher.hash(password)
        except SignInBusy:
            # The next sign-in will do it.
            return None
