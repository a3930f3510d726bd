"""The caller of the current call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from meshkit.limits.rate import RateLimit
from meshkit.security.permissions import holds


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a credential speaks for.

    Attributes:
        subject: Stable name of the caller, for example `key:<id>` or `service:task`.
        tenant: Tenant that the caller is confined to.
        permissions: What it may do, as `noun:verb`, `*` for any noun or verb.
        expires_at: When the credential stops working, if it does.
        actors: Who acts for the caller, the nearest first: a service, or an agent that
            exchanged its credential for one to act with.
        credential_id: Id of the API key or the session that it calls with.
        actor_credentials: Those of the actors, in their order.
        rate_limit: How often it may call; None for no limit.
        issued_at: When its token was issued; None for an API key.
        tenants: Further tenants that it may act in.
    """

    subject: str
    tenant: str
    permissions: tuple[str, ...]
    expires_at: datetime | None = None
    actors: tuple[str, ...] = ()
    credential_id: str = ""
    rate_limit: RateLimit | None = None
    tenants: tuple[str, ...] = ()
    actor_credentials: tuple[str, ...] = ()
    issued_at: datetime | None = None

    @property
    def actor(self) -> str | None:
        """Who acts for the caller itself, if somebody does."""
        return self.actors[0] if self.actors else None

    def may(self, permission: str) -> bool:
        """Tell whether one of the permissions held allows `permission`."""
        return holds(self.permissions, permission)


_current: ContextVar[Principal | None] = ContextVar("principal", default=None)


def current_principal() -> Principal:
    """Return the caller of the call being served.

    Raises:
        LookupError: Outside a call, or in a public one.
    """
    principal = _current.get()
    if principal is None:
        raise LookupError("no caller: this is not an authenticated call")
    return principal


def current_or_none() -> Principal | None:
    """Return the caller of the call being served, or None outside one."""
    return _current.get()


def set_current(principal: Principal | None) -> None:
    """Make `principal` the caller for the rest of this task's context."""
    _current.set(principal)


@contextmanager
def acting_for(principal: Principal) -> Iterator[None]:
    """Make `principal` the caller within the block, for work outside a call."""
    token = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(token)
