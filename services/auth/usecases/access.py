"""What users' sessions need of the rest of auth, and the pair of tokens that they give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.security.principal import Principal
from services.auth.domain.sessions import Session
from services.auth.domain.users import subject_of
from services.auth.signing import Token


class TokenSigner(Protocol):
    """Signs access tokens."""

    async def sign(self, principal: Principal, now: datetime) -> Token:
        """Sign a token for a principal; it doesn't outlive the principal's own credential.

        `now` is by the database's clock, from before what the principal may do was read.
        """
        ...


class Permissions(Protocol):
    """Knows what subjects may do."""

    async def principal_of(
        self, tenant: str, subject: str, *, credential_id: str, expires_at: datetime | None
    ) -> Principal:
        """Return a subject that calls with a credential, with what it may do."""
        ...


class Covering(Protocol):
    """Holds what a subject may do against what somebody else may."""

    async def check_covers(
        self, connection: AsyncConnection, caller: Principal, subject: str, field: str
    ) -> None:
        """Raise PermissionNotHeld if the subject may do what the caller may not."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sign-in comes from: network address and program; each may be empty."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a sign-in or a refresh gives."""

    access: Token
    refresh_token: str
    refresh_lifetime: timedelta


class AccessTokens:
    """Gives sessions their access tokens."""

    def __init__(self, signer: TokenSigner, permissions: Permissions) -> None:
        self._signer = signer
        self._permissions = permissions

    async def sign_for(self, session: Session) -> Token:
        """Sign an access token of a session, which doesn't outlive the session."""
        principal = await self._permissions.principal_of(
            session.tenant,
            subject_of(session.user_id),
            credential_id=str(session.id),
            expires_at=session.expire_time,
        )
        return await self._signer.sign(principal, session.refresh_time)
