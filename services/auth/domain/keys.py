"""API keys, and what roles allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.auth.errors import RoleUnknown

SERVICE_ROLE: Final = "service"
"""Acts for callers of any tenant, so it is never handed out over the network."""

_VIEWER: Final = (
    "self:read",
    "task:read",
    "agent:read",
    "tool:read",
    "invocation:read",
    "blob:read",
)
_OPERATOR: Final = ("task:*", "agent:*", "tool:*", "invocation:*", "blob:*")

PERMISSIONS: Final[dict[str, tuple[str, ...]]] = {
    "viewer": _VIEWER,
    "analyst": (*_VIEWER, "invocation:*"),
    "operator": (*_VIEWER, *_OPERATOR),
    "admin": ("*",),
    "agent": (
        "self:read",
        "agent:read",
        "agent:register",
        "agent:heartbeat",
        "task:execute",
        "task:create",
        "task:read",
        "tool:read",
        "blob:create",
        "blob:read",
    ),
    SERVICE_ROLE: (
        "self:read",
        "mesh:verify",
        "mesh:delegate",
        "agent:read",
        "task:read",
        "tool:read",
        "invocation:create",
    ),
}
"""What each role allows. `*` covers everything but the mesh's own permissions, `mesh:…`."""


def permissions_of(roles: Iterable[str]) -> tuple[str, ...]:
    """Return what the roles allow together, sorted.

    Raises:
        RoleUnknown: One of them doesn't exist.
    """
    permissions: set[str] = set()
    for role in roles:
        if role not in PERMISSIONS:
            raise RoleUnknown(role, sorted(PERMISSIONS))
        permissions.update(PERMISSIONS[role])
    return tuple(sorted(permissions))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A long-lived credential, without its secret.

    Attributes:
        subject: Whom a call with the key acts as.
        creator: Who made the key.
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

    def works_at(self, now: datetime) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair that signs access tokens; the private half is sealed."""

    id: str
    sealed_private_key: bytes
    public_key: bytes
    create_time: datetime
