"""All that has to do with users, put together."""

from __future__ import annotations

from typing import Protocol

from meshkit.database.engine import Database
from services.auth.secrets import MasterKey
from services.auth.settings import AuthSettings
from services.auth.usecases.access import (
    AccessTokens,
    Covering,
    Permissions,
    TokenSigner,
)
from services.auth.usecases.attempts import SignInAttempts
from services.auth.usecases.endings import SessionEndings
from services.auth.usecases.hashing import PasswordHasher
from services.auth.usecases.leftovers import Leftovers
from services.auth.usecases.passwords import Passwords
from services.auth.usecases.refresh_tokens import RefreshTokens
from services.auth.usecases.revocations import Revocations
from services.auth.usecases.sessions import Sessions
from services.auth.usecases.sign_in import SignIns
from services.auth.usecases.users import Users


class UserPermissions(Permissions, Covering, Protocol):
    """All that is to be known of what users may do."""


class Accounts:
    """Users, their passwords and their sessions, on what the rest of auth provides."""

    def __init__(
        self,
        database: Database,
        master: MasterKey,
        settings: AuthSettings,
        *,
        signer: TokenSigner,
        permissions: UserPermissions,
        revocations: Revocations,
    ) -> None:
        hasher = PasswordHasher(settings)
        attempts = SignInAttempts(database, settings)
        endings = SessionEndings(revocations)
        access = AccessTokens(signer, permissions)
        refresh_tokens = RefreshTokens(master)
        self.users = Users(database, master, endings, settings)
        self.passwords = Passwords(
            database,
            hasher,
            attempts,
            endings,
            permissions=permissions,
            master=master,
            settings=settings,
        )
        self.sign_ins = SignIns(
            database, hasher, attempts, access, refresh_tokens=refresh_tokens, settings=settings
        )
        self.sessions = Sessions(database, access, refresh_tokens, endings, settings)
        self.leftovers = Leftovers(database, settings)
