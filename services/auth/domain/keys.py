"""API keys, and the keys that sign tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit.limits.rate import RateLimit


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A long-lived credential, without its secret.

    Attributes:
        subject: Whom a call with the key acts as.
        creator: Who made the key.
        scopes: It may do no more than these, if there are any, whatever its roles allow.
        tenants: Further tenants that it may act in.
        use_count: Calls so far, as far as services have told.
        rerolled_from: The key whose place it took.
    """

    id: UUID
    tenant: str
    display_name: str
    roles: tuple[str, ...]
    subject: str
    creator: str
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    scopes: tuple[str, ...] = ()
    rate_limit: RateLimit | None = None
    tenants: tuple[str, ...] = ()
    last_used_time: datetime | None = None
    use_count: int = 0
    rerolled_from: UUID | None = None

    def works_at(self, now: datetime) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair that signs access tokens; the private half is sealed.

    Attributes:
        sign_time: When it begins to sign; it is published from its creation on.
    """

    id: str
    sealed_private_key: bytes
    public_key: bytes
    create_time: datetime
    sign_time: datetime
