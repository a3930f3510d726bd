"""What can go wrong in auth."""

from __future__ import annotations

from meshkit.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)


class ApiKeyNotFound(NotFound):
    """No such API key in the caller's tenant."""

    reason = "API_KEY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no API key with this id.", field="api_key_id")


class RoleUnknown(InvalidArgument):
    """A role that doesn't exist."""

    reason = "ROLE_UNKNOWN"

    def __init__(self, role: str, known: list[str], field: str) -> None:
        super().__init__(f"There is no role {role!r}; there are {', '.join(known)}.", field=field)


class RoleNotHeld(PermissionDenied):
    """A role that the caller may not hand out."""

    reason = "ROLE_NOT_HELD"

    def __init__(self, role: str, field: str) -> None:
        super().__init__(
            f"You may not hand out the role {role!r}: it allows more than you hold.", field=field
        )


class PermissionNotHeld(PermissionDenied):
    """A permission that the caller may not hand out."""

    reason = "ROLE_NOT_HELD"

    def __init__(self, permission: str, field: str) -> None:
        super().__init__(
            f"You may not hand out the permission {permission!r}, for you do not hold it.",
            field=field,
        )


class RoleNotFound(NotFound):
    """No such role in the caller's tenant."""

    reason = "ROLE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no role of this name.", field="name")


class RoleExists(AlreadyExists):
    """A role of this name exists."""

    reason = "ROLE_EXISTS"

    def __init__(self) -> None:
        super().__init__("There is a role of this name already.", field="role.name")


class RoleBuiltIn(FailedPrecondition):
    """A built-in role can't be changed."""

    reason = "ROLE_BUILT_IN"

    def __init__(self, field: str) -> None:
        super().__init__(
            "This role is built in and can't be changed; make one of your own that inherits it.",
            field=field,
        )


class RoleInUse(FailedPrecondition):
    """Somebody has the role, or a role inherits it."""

    reason = "ROLE_IN_USE"

    def __init__(self, by: str) -> None:
        super().__init__(f"The role is still in use: {by}. Take it away there first.", field="name")


class RoleCycle(InvalidArgument):
    """A role that would inherit itself."""

    reason = "ROLE_CYCLE"

    def __init__(self, name: str, parent: str) -> None:
        super().__init__(
            f"{parent!r} inherits {name!r}, so {name!r} can't inherit it.", field="role.inherits"
        )


class RoleChanged(Aborted):
    """The role has changed since it was read."""

    reason = "ETAG_MISMATCH"

    def __init__(self) -> None:
        super().__init__(
            "The role has changed since; read it anew and try again.", field="role.etag"
        )


class RoleBindingNotFound(NotFound):
    """No such binding in the caller's tenant."""

    reason = "ROLE_BINDING_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no role binding with this id.", field="role_binding_id")


class SubjectNotFound(NotFound):
    """No such user or key in the caller's tenant."""

    reason = "SUBJECT_NOT_FOUND"

    def __init__(self, field: str) -> None:
        super().__init__("There is no such user or API key.", field=field)


class ServiceCredentialNotFound(NotFound):
    """No credential for this external service in the caller's tenant."""

    reason = "SERVICE_CREDENTIAL_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no credential for a service of this name.", field="name")


class MasterKeyWrong(FailedPrecondition):
    """What is stored was sealed under another master key."""

    def __init__(self) -> None:
        super().__init__(
            "The keys in this database were sealed under another master key;"
            " set AGENTMESH_AUTH__MASTER_KEY to the one it was set up with."
        )


class UserNotFound(NotFound):
    """No such user in the caller's tenant."""

    reason = "USER_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no user with this id.", field="user_id")


class UserExists(AlreadyExists):
    """Somebody in the mesh has this address."""

    reason = "USER_EXISTS"

    def __init__(self) -> None:
        super().__init__(
            "This address is taken; use another one, or reset the password of who has it.",
            field="user.email",
        )


class UserDisabled(FailedPrecondition):
    """The user may not sign in, so it needs no password."""

    reason = "USER_DISABLED"

    def __init__(self) -> None:
        super().__init__("This user is disabled; enable it first.", field="user_id")


class NotAUser(FailedPrecondition):
    """The caller has no password."""

    reason = "NOT_A_USER"

    def __init__(self) -> None:
        super().__init__("You have no password: sign in as a user, not with a key, to change one.")


class PasswordWrong(InvalidArgument):
    """What was sent as the present password is not."""

    reason = "PASSWORD_WRONG"

    def __init__(self) -> None:
        super().__init__("The present password is wrong.", field="password")


class SignInRefused(Unauthenticated):
    """The address is unknown, the password wrong, or the user may not sign in."""

    def __init__(self) -> None:
        super().__init__(
            "The address or the password is wrong; after too many failures you have to wait."
        )


class SignInLocked(ResourceExhausted):
    """Too many sign-ins of the address have failed."""

    reason = "SIGN_IN_LOCKED"

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "Too many sign-ins with this address have failed; wait, or have the password reset.",
            retry_after=retry_after,
        )


class SignInBusy(ResourceExhausted):
    """Too many passwords wait to be checked."""

    reason = "SIGN_IN_BUSY"

    def __init__(self) -> None:
        super().__init__("Too many sign in at once; try again in a second.", retry_after=1.0)


class PasswordTokenRefused(Unauthenticated):
    """A token to choose a password with is unknown, used, void or expired."""

    def __init__(self) -> None:
        super().__init__(
            "The token is unknown, was used or has expired; ask an administrator for a new one."
        )


class SessionNotFound(NotFound):
    """No such session that the caller may end."""

    reason = "SESSION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no session with this id.", field="session_id")


class RefreshTokenRefused(Unauthenticated):
    """A refresh token is unknown or expired, or its session has ended."""

    def __init__(self) -> None:
        super().__init__("The refresh token works no more; sign in again.")


class RefreshTokenReused(Unauthenticated):
    """A refresh token came a second time, so its session has ended."""

    reason = "REFRESH_TOKEN_REUSED"

    def __init__(self) -> None:
        super().__init__(
            "A refresh token of this session was used twice, so the session has ended; sign in"
            " again, and change the password if it wasn't you."
        )
