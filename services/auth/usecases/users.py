"""Creates, shows, disables and enables users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.ids import uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from services.auth.domain.users import User
from services.auth.errors import UserExists, UserNotFound
from services.auth.secrets import MasterKey
from services.auth.settings import AuthSettings
from services.auth.store import password_tokens as token_store
from services.auth.store import users as store
from services.auth.store.keys import now
from services.auth.usecases.endings import SessionEndings
from services.auth.usecases.passwords import new_password_token

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a new user chooses its password with; the token is shown this once."""

    user: User
    token: str
    expire_time: datetime


class Users:
    """Administers users."""

    def __init__(
        self,
        database: Database,
        master: MasterKey,
        endings: SessionEndings,
        settings: AuthSettings,
    ) -> None:
        self._database = database
        self._master = master
        self._endings = endings
        self._lifetime = timedelta(seconds=settings.invitation_lifetime)

    async def invite(self, tenant: str, *, email: str, display_name: str) -> Invitation:
        """Create a user that has no password yet.

        Raises:
            UserExists: Somebody in the mesh has the address, in whatever case.
        """
        user_id, token = uuid7(), new_password_token()

        async def work(connection: AsyncConnection) -> Invitation:
            created = await now(connection)
            user = User(user_id, tenant, email, display_name, None, created)
            if not await store.insert_user(connection, user):
                raise UserExists
            expiry = created + self._lifetime
            await token_store.put(connection, user_id, self._master.digest(token), expiry)
            return Invitation(user, token, expiry)

        invitation = await self._database.transaction(work)
        log.info("user created", user_id=str(user_id))
        return invitation

    async def get(self, tenant: str, user_id: UUID) -> User:
        """Return a user of the tenant.

        Raises:
            UserNotFound: There is none.
        """
        return _found(await self._database.read(lambda tx: store.get_user(tx, tenant, user_id)))

    async def list(self, tenant: str, query: str, page: Keyset) -> KeysetPage[User]:
        """Return a page of the tenant's users whose address or name contains `query`."""
        users = await self._database.read(lambda tx: store.list_users(tx, tenant, query, page))
        return keyset_page(users, page, lambda user: {"id": user.id})

    async def disable(self, tenant: str, user_id: UUID) -> User:
        """Keep a user of the tenant from signing in, end its sessions and void its token.

        Raises:
            UserNotFound: There is none.
        """

        async def work(connection: AsyncConnection) -> User:
            user = _found(await store.disable_user(connection, tenant, user_id))
            await token_store.void(connection, user_id)
            await self._endings.end_all(connection, tenant, user_id)
            return user

        user = await self._database.transaction(work)
        log.info("user disabled", user_id=str(user_id))
        return user

    async def enable(self, tenant: str, user_id: UUID) -> User:
        """Let a user of the tenant sign in again.

        Raises:
            UserNotFound: There is none.
        """
        user = _found(
            await self._database.transaction(lambda tx: store.enable_user(tx, tenant, user_id))
        )
        log.info("user enabled", user_id=str(user_id))
        return user


def _found(user: User | None) -> User:
    if user is None:
        raise UserNotFound
    return user
