"""Users: who signs in with an address and a password."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

_SUBJECT: Final = "user:"


class UserState(StrEnum):
    """Whether a user may sign in."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signs in.

    Attributes:
        email: The address as it was given.
        password_hash: Argon2's own form; None until a password was chosen.
        disable_time: Since when the user may not sign in; None if it may.
    """

    id: UUID
    tenant: str
    email: str
    display_name: str
    password_hash: str | None
    create_time: datetime
    last_login_time: datetime | None = None
    disable_time: datetime | None = None

    @property
    def state(self) -> UserState:
        """Whether the user may sign in."""
        if self.disable_time is not None:
            return UserState.DISABLED
        return UserState.INVITED if self.password_hash is None else UserState.ACTIVE

    @property
    def subject(self) -> str:
        """Whom its calls are made as."""
        return subject_of(self.id)

    @property
    def usable_hash(self) -> str | None:
        """What a password is held against; None if none lets the user in."""
        return self.password_hash if self.state is UserState.ACTIVE else None


def subject_of(user_id: UUID) -> str:
    """Return the subject of a user's calls."""
    return f"{_SUBJECT}{user_id}"


def user_of(subject: str) -> UUID | None:
    """Return the user that a subject names; None if it names something else."""
    if not subject.startswith(_SUBJECT):
        return None
    try:
        return UUID(subject.removeprefix(_SUBJECT))
    except ValueError:
        return None


def folded(email: str) -> str:
    """Return what addresses that differ only in the case of letters have in common."""
    return email.casefold()


def address_key(email: str) -> bytes:
    """Return what failed sign-ins of an address are counted under: not the address itself."""
    return hashlib.sha256(folded(email).encode()).digest()
