"""The form of a refresh token: `meshr_<session id>_<43 characters>`.

The 43 characters are 128 random bits and as many of an HMAC over them and the session. So
a token that was never issued is told from one that was used before: only that ends a session.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.auth.secrets import MasterKey

_FORM: Final = re.compile(r"meshr_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_RANDOM_BYTES: Final = 16
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token that was issued at some time.

    Attributes:
        digest: What is stored of it.
    """

    session_id: UUID
    text: str
    digest: bytes


class RefreshTokens:
    """Makes and reads refresh tokens."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master

    def make(self, session_id: UUID) -> RefreshToken:
        """Make a token of a session."""
        return self._token(session_id, secrets.token_bytes(_RANDOM_BYTES))

    def read(self, text: str) -> RefreshToken | None:
        """Read a token; None if it was never issued."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        random = base64.urlsafe_b64decode(f"{match[2]}=")[:_RANDOM_BYTES]
        issued = self._token(UUID(hex=match[1]), random)
        return issued if hmac.compare_digest(issued.text, text) else None

    def _token(self, session_id: UUID, random: bytes) -> RefreshToken:
        tag = self._master.digest(f"refresh tag {session_id.hex} {random.hex()}")[:_TAG_BYTES]
        secret = base64.urlsafe_b64encode(random + tag).decode().rstrip("=")
        text = f"meshr_{session_id.hex}_{secret}"
        return RefreshToken(session_id, text, self._master.digest(text))
