"""Roles: named sets of permissions that inherit from each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from meshkit.limits.rate import RateLimit
from meshkit.security.permissions import covers, intersection
from services.auth.errors import RoleCycle, RoleUnknown

SERVICE_ROLE: Final = "service"
"""Acts for callers of any tenant, so it is never handed out over the network."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions.

    Attributes:
        permissions: Its own, `*` for any noun or verb; not those that it inherits.
        version: Grows with each change; 0 for a built-in one.
    """

    name: str
    description: str
    permissions: tuple[str, ...]
    inherits: tuple[str, ...] = ()
    rate_limit: RateLimit | None = None
    create_time: datetime | None = None
    version: int = 0

    @property
    def built_in(self) -> bool:
        """Whether every mesh has it, and nobody can change it."""
        return self.version == 0


_READABLE: Final = ("task:read", "agent:read", "tool:read", "invocation:read", "blob:read")
_OPERATED: Final = ("task:*", "agent:*", "tool:*", "invocation:*", "blob:*")

BUILT_IN: Final[Mapping[str, Role]] = {
    role.name: role
    for role in (
        Role(
            "viewer",
            "Sees what goes on.",
            ("self:read", "self:update", *_READABLE),
            rate_limit=RateLimit(100, 500),
        ),
        Role(
            "analyst",
            "Sees and records figures.",
            ("invocation:*",),
            ("viewer",),
            RateLimit(200, 1000),
        ),
        Role(
            "operator",
            "Works with tasks, agents and tools.",
            _OPERATED,
            ("analyst",),
            RateLimit(1000, 5000),
        ),
        Role(
            "admin",
            "May do anything within the tenant.",
            ("*",),
            ("operator",),
            RateLimit(10_000, 20_000),
        ),
        Role(
            "agent",
            "Does tasks, and creates some.",
            (
                "self:read",
                "self:delegate",
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
        ),
        Role(
            SERVICE_ROLE,
            "A service of the mesh.",
            (
                "self:read",
                "mesh:verify",
                "mesh:delegate",
                "mesh:audit",
                "mesh:credential",
                "agent:read",
                "task:read",
                "tool:read",
                "invocation:create",
            ),
        ),
        Role(
            "platform",
            "Runs the mesh itself, for all tenants.",
            ("self:read", "mesh:tenants", "mesh:rotate"),
        ),
    )
}
"""The roles of every mesh. `*` covers everything but the mesh's own permissions, `mesh:…`."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Gives a role to a subject."""

    id: UUID
    tenant: str
    subject: str
    role: str
    creator: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """One way by which a permission is held.

    Attributes:
        binding_id: What gives the role; None for a role that the key was made with.
        roles: From the one that is held to the one that allows it.
        held: What that one holds that covers it.
    """

    binding_id: UUID | None
    roles: tuple[str, ...]
    held: str


class RoleBook:
    """The roles of a tenant beside the built-in ones."""

    def __init__(self, own: Iterable[Role] = ()) -> None:
        self.roles: dict[str, Role] = {**BUILT_IN, **{role.name: role for role in own}}

    def check_known(self, names: Iterable[str], field: str) -> None:
        """Raise RoleUnknown for a name that no role has."""
        for name in names:
            if name not in self.roles:
                raise RoleUnknown(name, sorted(self.roles), field)

    def check_acyclic(self, name: str) -> None:
        """Raise RoleCycle if a role inherits itself, by whatever way."""
        for parent in self.roles[name].inherits:
            if any(path[-1] == name for path in self.paths(parent)):
                raise RoleCycle(name, parent)

    def paths(self, name: str) -> Iterator[tuple[str, ...]]:
        """Yield the ways from a role to all that it inherits, the role itself first.

        Roles that there are no more are passed over, and so is what was met before.
        """
        met: set[str] = set()
        open_paths: list[tuple[str, ...]] = [(name,)]
        while open_paths:
            path = open_paths.pop(0)
            role = self.roles.get(path[-1])
            if role is None or role.name in met:
                continue
            met.add(role.name)
            yield path
            open_paths += [(*path, parent) for parent in role.inherits]

    def permissions_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return what the roles allow together, inherited or not, sorted.

        What another of them covers is left out.
        """
        return _reduced(
            {
                permission
                for name in names
                for path in self.paths(name)
                for permission in self.roles[path[-1]].permissions
            }
        )

    def rate_limit_of(self, names: Iterable[str]) -> RateLimit | None:
        """Return the highest of the roles' limits; of each its own or the nearest inherited."""
        limits = [limit for name in names if (limit := self._nearest_limit(name)) is not None]
        return max(limits, default=None)

    def grants_of(self, held: Iterable[tuple[UUID | None, str]], permission: str) -> list[Grant]:
        """Return the ways by which roles, each with what gives it, allow something."""
        return [
            Grant(binding_id, path, candidate)
            for binding_id, name in held
            for path in self.paths(name)
            for candidate in self.roles[path[-1]].permissions
            if covers(candidate, permission)
        ]

    def allowing(self, permission: str) -> list[str]:
        """Return the names of the roles that allow something, sorted."""
        return sorted(name for name in self.roles if self.grants_of([(None, name)], permission))

    def _nearest_limit(self, name: str) -> RateLimit | None:
        limits = (self.roles[path[-1]].rate_limit for path in self.paths(name))
        return next((limit for limit in limits if limit is not None), None)


def permissions_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return what built-in roles allow together, sorted.

    Raises:
        RoleUnknown: One of them doesn't exist.
    """
    book = RoleBook()
    wanted = list(names)
    book.check_known(wanted, "api_key.roles")
    return book.permissions_of(wanted)


def narrowed(permissions: Sequence[str], scopes: Sequence[str]) -> tuple[str, ...]:
    """Return what is allowed by both; all of `permissions` if there are no scopes."""
    if not scopes:
        return tuple(permissions)
    both = {intersection(held, scope) for held in permissions for scope in scopes}
    return _reduced({each for each in both if each is not None})


def _reduced(permissions: set[str]) -> tuple[str, ...]:
    def is_covered(each: str) -> bool:
        # Of two that say the same, such as `*` and `*:*`, the first stays.
        return any(
            covers(other, each) and (other < each or not covers(each, other))
            for other in permissions
            if other != each
        )

    return tuple(sorted(each for each in permissions if not is_covered(each)))
