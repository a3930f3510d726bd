"""Roles and who has them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.principal import Principal
from services.auth.domain.roles import BUILT_IN, SERVICE_ROLE, Binding, Role, RoleBook
from services.auth.errors import (
    PermissionNotHeld,
    RoleBindingNotFound,
    RoleBuiltIn,
    RoleChanged,
    RoleExists,
    RoleInUse,
    RoleNotFound,
    RoleNotHeld,
    SubjectNotFound,
)
from services.auth.store import keys as key_store
from services.auth.store import roles as store
from services.auth.usecases.revocations import Revocations

log = structlog.get_logger()


class Roles:
    """Makes, shows and changes a tenant's roles, and gives them to users and keys."""

    def __init__(self, database: Database, changes: Revocations, *, ids: IdSource = uuid7) -> None:
        self._database = database
        self._changes = changes
        self._ids = ids

    async def create(self, caller: Principal, role: Role) -> Role:
        """Create a role.

        Raises:
            RoleExists: There is one of this name, built-in or the tenant's.
            RoleUnknown, RoleCycle: It inherits what it can't.
            PermissionNotHeld, RoleNotHeld: It allows more than the caller holds.
        """
        if role.name in BUILT_IN:
            raise RoleExists

        async def work(connection: AsyncConnection) -> Role:
            await self._check(connection, caller, role)
            created = await store.insert_role(connection, caller.tenant, role)
            if created is None:
                raise RoleExists
            return created

        created = await self._database.transaction(work)
        log.info("role created", role=role.name)
        return created

    async def get(self, tenant: str, name: str) -> Role:
        """Return a role, built-in or the tenant's.

        Raises:
            RoleNotFound: There is none.
        """
        for role in await self.list(tenant):
            if role.name == name:
                return role
        raise RoleNotFound

    async def list(self, tenant: str) -> Sequence[Role]:
        """Return all roles, the built-in ones first."""
        own = await self._database.read(lambda tx: store.list_roles(tx, tenant))
        return [*BUILT_IN.values(), *own]

    async def update(self, caller: Principal, role: Role) -> Role:
        """Change a role of the tenant; if it names a version, only if it still has it.

        Raises:
            RoleNotFound, RoleBuiltIn, RoleChanged, RoleUnknown, RoleCycle, PermissionNotHeld,
            RoleNotHeld: It can't be changed so.
        """
        if role.name in BUILT_IN:
            raise RoleBuiltIn("role.name")

        async def work(connection: AsyncConnection) -> Role:
            book = await self._check(connection, caller, role)
            before = book.roles.get(role.name)
            if before is None:
                raise RoleNotFound
            if role.version and role.version != before.version:
                raise RoleChanged
            updated = await store.update_role(connection, caller.tenant, role)
            await self._changes.tell_of_change(connection, caller.tenant, f"tenant:{caller.tenant}")
            return updated

        updated = await self._database.transaction(work)
        log.info("role updated", role=role.name)
        return updated

    async def delete(self, tenant: str, name: str) -> None:
        """Delete a role of the tenant.

        Raises:
            RoleNotFound, RoleBuiltIn, RoleInUse: It can't be deleted.
        """
        if name in BUILT_IN:
            raise RoleBuiltIn("name")

        async def work(connection: AsyncConnection) -> None:
            await store.lock_roles(connection, tenant)
            use = await store.find_use(connection, tenant, name)
            if not await store.delete_role(connection, tenant, name):
                raise RoleNotFound
            if use is not None:
                raise RoleInUse(use)

        await self._database.transaction(work)
        log.info("role deleted", role=name)

    async def bind(self, caller: Principal, subject: str, name: str) -> Binding:
        """Give a role to a user or a key; one that has it keeps it.

        Raises:
            RoleUnknown: There is no such role.
            RoleNotHeld: It allows more than the caller holds.
            SubjectNotFound: There is no such user or key in the tenant.
        """

        async def work(connection: AsyncConnection) -> Binding:
            await store.lock_roles(connection, caller.tenant)
            book = RoleBook(await store.list_roles(connection, caller.tenant))
            book.check_known([name], "role_binding.role")
            check_grant(book, caller, [name], "role_binding.role")
            if not await key_store.has_subject(connection, caller.tenant, subject):
                raise SubjectNotFound("role_binding.subject")
            bound = await store.put_binding(
                connection,
                self._ids(),
                tenant=caller.tenant,
                subject=subject,
                role=name,
                creator=caller.subject,
            )
            await self._changes.tell_of_change(connection, caller.tenant, subject)
            return bound

        bound = await self._database.transaction(work)
        log.info("role bound", role=name, subject=subject)
        return bound

    async def bindings(
        self, tenant: str, subject: str, role: str, page: Keyset
    ) -> KeysetPage[Binding]:
        """Return a page of who has which role; of one subject or one role if they are named."""
        found = await self._database.read(
            lambda tx: store.list_bindings(tx, tenant, subject, role, page)
        )
        return keyset_page(found, page, lambda binding: {"id": binding.id})

    async def unbind(self, tenant: str, binding_id: UUID) -> None:
        """Take a role away.

        Raises:
            RoleBindingNotFound: There is no such binding.
        """

        async def work(connection: AsyncConnection) -> Binding:
            binding = await store.delete_binding(connection, tenant, binding_id)
            if binding is None:
                raise RoleBindingNotFound
            await self._changes.tell_of_change(connection, tenant, binding.subject)
            return binding

        binding = await self._database.transaction(work)
        log.info("role taken away", role=binding.role, subject=binding.subject)

    async def _check(self, connection: AsyncConnection, caller: Principal, role: Role) -> RoleBook:
        """Check what a role would allow; return the tenant's roles as they are."""
        await store.lock_roles(connection, caller.tenant)
        own = await store.list_roles(connection, caller.tenant)
        book = RoleBook([*(each for each in own if each.name != role.name), role])
        book.check_known(role.inherits, "role.inherits")
        book.check_acyclic(role.name)
        for permission in role.permissions:
            if not caller.may(permission):
                raise PermissionNotHeld(permission, "role.permissions")
        check_grant(book, caller, role.inherits, "role.inherits")
        return RoleBook(own)


def check_grant(book: RoleBook, caller: Principal, names: Sequence[str], field: str) -> None:
    """Refuse to hand out roles that allow more than the caller holds.

    Raises:
        RoleNotHeld: One does.
    """
    for name in names:
        covered = all(caller.may(permission) for permission in book.permissions_of([name]))
        if name == SERVICE_ROLE or not covered:
            raise RoleNotHeld(name, field)
