"""Lets users choose and change their passwords."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.audit import note
from meshkit.database.engine import Database
from meshkit.security.principal import Principal
from services.auth import secrets
from services.auth.domain.users import User, UserState, subject_of, user_of
from services.auth.errors import (
    NotAUser,
    PasswordTokenRefused,
    PasswordWrong,
    UserDisabled,
    UserNotFound,
)
from services.auth.secrets import MasterKey
from services.auth.settings import AuthSettings
from services.auth.store import password_tokens as token_store
from services.auth.store import users as store
from services.auth.store.keys import now
from services.auth.usecases.access import Covering
from services.auth.usecases.attempts import SignInAttempts
from services.auth.usecases.endings import SessionEndings
from services.auth.usecases.hashing import PasswordHasher

log = structlog.get_logger()

_PREFIX = "meshp_"


def new_password_token() -> str:
    """Make a token to choose a password with: 256 random bits."""
    return f"{_PREFIX}{secrets.new_secret()}"


class Passwords:
    """Sets passwords, by the one that is known or by a token."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        attempts: SignInAttempts,
        endings: SessionEndings,
        *,
        permissions: Covering,
        master: MasterKey,
        settings: AuthSettings,
    ) -> None:
        self._database = database
        self._permissions = permissions
        self._master = master
        self._hasher = hasher
        self._attempts = attempts
        self._endings = endings
        self._lifetime = timedelta(seconds=settings.reset_lifetime)

    async def change(self, caller: Principal, password: str, chosen: str) -> None:
        """Change the caller's password, end its other sessions, and void a reset under way.

        Raises:
            NotAUser: The caller has no password.
            PasswordWrong: The present password is another one.
            SignInLocked: Too many attempts have failed.
            SignInBusy: Too many passwords wait to be checked.
        """
        user = await self._user(caller)
        await self._attempts.check(user.email)
        verified = user.usable_hash
        if not await self._hasher.verify(verified, password) or verified is None:
            await self._attempts.fail(user.email)
            raise PasswordWrong
        hashed = await self._hasher.hash(chosen)

        async def work(connection: AsyncConnection) -> bool:
            await self._attempts.succeed(connection, user.email)
            if not await store.change_password(connection, user.id, verified, hashed):
                return False
            await token_store.void(connection, user.id)
            spared = _session_of(caller)
            await self._endings.end_all(connection, user.tenant, user.id, spared=spared)
            return True

        if not await self._database.transaction(work):
            raise PasswordWrong
        log.info("password changed", user_id=str(user.id))

    async def create_reset(self, caller: Principal, user_id: UUID) -> tuple[str, datetime]:
        """Make a token for a user of the tenant, and void those before; return when it expires.

        Raises:
            UserNotFound: There is no such user.
            PermissionNotHeld: The user may do what the caller may not, who could sign in as it.
            UserDisabled: It may not sign in.
        """
        token = new_password_token()
        digest = self._master.digest(token)

        async def work(connection: AsyncConnection) -> datetime:
            user = await store.lock_user(connection, caller.tenant, user_id)
            if user is None:
                raise UserNotFound
            await self._permissions.check_covers(connection, caller, subject_of(user_id), "user_id")
            if user.state is UserState.DISABLED:
                raise UserDisabled
            expiry = await now(connection) + self._lifetime
            await token_store.put(connection, user_id, digest, expiry)
            return expiry

        return token, await self._database.transaction(work)

    async def reset(self, token: str, chosen: str) -> None:
        """Set the password of a token's user, once, and end all its sessions.

        Raises:
            PasswordTokenRefused: The token is unknown, used, void or expired.
            SignInBusy: Too many passwords wait to be hashed.
        """
        digest = self._master.digest(token)
        # Looked up first, so that nobody has passwords hashed for nothing.
        if not await self._database.read(lambda tx: token_store.works(tx, digest)):
            raise PasswordTokenRefused
        hashed = await self._hasher.hash(chosen)

        async def work(connection: AsyncConnection) -> User | None:
            user_id = await token_store.take(connection, digest)
            user = user_id and await store.set_password(connection, user_id, hashed)
            if not user:
                return None
            note(subject=subject_of(user.id), tenant=user.tenant)
            await self._attempts.forget(connection, user.email)
            await self._endings.end_all(connection, user.tenant, user.id)
            return user

        user = await self._database.transaction(work)
        if user is None:
            raise PasswordTokenRefused
        log.info("password set", user_id=str(user.id))

    async def _user(self, caller: Principal) -> User:
        user_id = user_of(caller.subject)
        if user_id is None:
            raise NotAUser
        user = await self._database.read(lambda tx: store.get_user(tx, caller.tenant, user_id))
        if user is None:
            raise NotAUser
        return user


def _session_of(caller: Principal) -> UUID | None:
    try:
        return UUID(caller.credential_id)
    except ValueError:
        return None
