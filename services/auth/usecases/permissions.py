"""What subjects may do, by the roles that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import PermissionDenied
from meshkit.limits.rate import RateLimit
from meshkit.security.permissions import allows
from meshkit.security.principal import Principal
from services.auth.domain.roles import BUILT_IN, Binding, Grant, RoleBook, narrowed
from services.auth.errors import PermissionNotHeld, SubjectNotFound
from services.auth.store import keys as key_store
from services.auth.store import limits as limit_store
from services.auth.store import roles as store

_OTHERS: Final = "role:read"
_OF_EVERYBODY: Final = ("self:read", "self:update")


@dataclass(frozen=True, slots=True)
class Held:
    """What a subject holds.

    Attributes:
        roles: Names of its roles, each with the binding that gives it, or None for a role that
            its key was made with.
        scopes: What it is confined to, if there are any.
        override: Its own rate limit.
    """

    book: RoleBook
    roles: Sequence[tuple[UUID | None, str]]
    scopes: tuple[str, ...] = ()
    override: RateLimit | None = None

    @property
    def permissions(self) -> tuple[str, ...]:
        """What it may do, sorted."""
        return narrowed(self.book.permissions_of(name for _, name in self.roles), self.scopes)

    @property
    def rate_limit(self) -> RateLimit | None:
        """How often it may call."""
        return self.override or self.book.rate_limit_of(name for _, name in self.roles)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is allowed or not."""

    allowed: bool
    grants: Sequence[Grant]
    words: str
    would_allow: Sequence[str]


class Permissions:
    """Finds out what subjects may do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def book(self, connection: AsyncConnection, tenant: str) -> RoleBook:
        """Return the roles of a tenant beside the built-in ones."""
        return RoleBook(await store.list_roles(connection, tenant))

    async def held(
        self,
        connection: AsyncConnection,
        tenant: str,
        subject: str,
        *,
        roles: Sequence[str] = (),
        scopes: tuple[str, ...] = (),
    ) -> Held:
        """Return what a subject holds by its bindings, and by the roles its key was made with."""
        bindings = await store.bindings_of(connection, tenant, subject)
        named = [(None, name) for name in roles] + [_named(each) for each in bindings]
        plain = all(name in BUILT_IN for _, name in named)
        book = RoleBook() if plain else await self.book(connection, tenant)
        override = await limit_store.find_override(connection, tenant, subject)
        return Held(book, named, scopes, override)

    async def principal_of(
        self,
        tenant: str,
        subject: str,
        *,
        credential_id: str,
        expires_at: datetime | None = None,
    ) -> Principal:
        """Return a user that calls with a credential, with what it may do by its bindings.

        Whoever it is, it may see and change what is its own.
        """
        held = await self._database.read(lambda tx: self.held(tx, tenant, subject))
        return Principal(
            subject,
            tenant,
            tuple(sorted({*held.permissions, *_OF_EVERYBODY})),
            expires_at,
            credential_id=credential_id,
            rate_limit=held.rate_limit,
        )

    async def check_covers(
        self, connection: AsyncConnection, caller: Principal, subject: str, field: str
    ) -> None:
        """Refuse to hand out what makes one a subject whose bindings allow more than one holds.

        Raises:
            PermissionNotHeld: The caller lacks one of the subject's permissions.
        """
        for permission in (await self.held(connection, caller.tenant, subject)).permissions:
            if not caller.may(permission):
                raise PermissionNotHeld(permission, field)

    async def check(self, caller: Principal, subject: str, wanted: Sequence[str]) -> list[bool]:
        """Tell of each permission whether a subject, the caller if it is empty, holds it.

        Raises:
            PermissionDenied: The caller may not ask about others.
            SubjectNotFound: There is no such user or key in the tenant.
        """
        if subject in ("", caller.subject):
            return [caller.may(permission) for permission in wanted]
        held = await self._held_by(caller, subject)
        permissions = held.permissions
        return [allows(permissions, permission) for permission in wanted]

    async def explain(self, caller: Principal, subject: str, permission: str) -> Explanation:
        """Tell by which roles a subject may do something, or why nothing allows it.

        Raises:
            PermissionDenied: The caller may not ask about others.
            SubjectNotFound: There is no such user or key in the tenant.
        """
        held = await self._held_by(caller, subject or caller.subject)
        grants = held.book.grants_of(held.roles, permission)
        allowed = allows(held.permissions, permission)
        return Explanation(
            allowed,
            grants if allowed else (),
            _in_words(held, grants, permission, allowed=allowed),
            () if allowed else held.book.allowing(permission),
        )

    async def _held_by(self, caller: Principal, subject: str) -> Held:
        if subject != caller.subject and not caller.may(_OTHERS):
            raise PermissionDenied(
                f"To ask about another subject takes the permission {_OTHERS}.",
                metadata={"permission": _OTHERS},
            )

        async def work(connection: AsyncConnection) -> Held:
            key = await key_store.find_by_subject(connection, caller.tenant, subject)
            if key is None and not await key_store.has_subject(connection, caller.tenant, subject):
                raise SubjectNotFound("subject")
            return await self.held(
                connection,
                caller.tenant,
                subject,
                roles=() if key is None else key.roles,
                scopes=() if key is None else key.scopes,
            )

        return await self._database.read(work)


def _named(binding: Binding) -> tuple[UUID | None, str]:
    return binding.id, binding.role


def _in_words(held: Held, grants: Sequence[Grant], permission: str, *, allowed: bool) -> str:
    names = ", ".join(name for _, name in held.roles) or "none"
    if allowed:
        first = grants[0]
        return f"Allowed by {first.held!r} of the role {first.roles[-1]!r}; roles held: {names}."
    if grants:
        return (
            f"The role {grants[0].roles[-1]!r} would allow {permission}, but the key is confined"
            f" to {', '.join(held.scopes)}."
        )
    return f"No role that is held allows {permission}; roles held: {names}."
