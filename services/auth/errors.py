"""What can go wrong in auth."""

from __future__ import annotations

from meshkit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied


class ApiKeyNotFound(NotFound):
    """No such API key in the caller's tenant."""

    reason = "API_KEY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no API key with this id.", field="api_key_id")


class RoleUnknown(InvalidArgument):
    """A role that doesn't exist."""

    reason = "ROLE_UNKNOWN"

    def __init__(self, role: str, known: list[str]) -> None:
        super().__init__(
            f"There is no role {role!r}; there are {', '.join(known)}.", field="api_key.roles"
        )


class RoleNotHeld(PermissionDenied):
    """A role that the caller may not hand out."""

    reason = "ROLE_NOT_HELD"

    def __init__(self, role: str) -> None:
        super().__init__(
            f"You may not hand out the role {role!r}: it allows more than you hold.",
            field="api_key.roles",
        )


class MasterKeyWrong(FailedPrecondition):
    """What is stored was sealed under another master key."""

    def __init__(self) -> None:
        super().__init__(
            "The keys in this database were sealed under another master key;"
            " set AGENTMESH_AUTH__MASTER_KEY to the one it was set up with."
        )
