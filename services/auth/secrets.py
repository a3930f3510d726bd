"""The form of an API key, and what is derived from the master key.

An API key reads `mesh_<environment>_<id>_<secret><checksum>`: 32 hex digits of id,
43 characters of secret (256 bits), 8 hex digits of CRC-32 over all before, so
that a scanner can tell a leaked key from a look-alike without asking anybody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.auth.errors import MasterKeyWrong

_FORM = re.compile(r"mesh_[a-z0-9]{1,16}_([0-9a-f]{32})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Presented:
    """The parts of an API key that somebody presents."""

    id: UUID
    secret: str


def compose(environment: str, key_id: UUID, secret: str) -> str:
    """Write an API key as its owner will see it, once."""
    body = f"mesh_{environment}_{key_id.hex}_{secret}"
    return f"{body}{_checksum(body)}"


def parse(api_key: str) -> Presented | None:
    """Read an API key; None if it hasn't the form or the checksum is wrong."""
    match = _FORM.fullmatch(api_key)
    if match is None or _checksum(api_key[:-8]) != match[3]:
        return None
    return Presented(UUID(hex=match[1]), match[2])


def new_secret() -> str:
    """Make 256 random bits, as 43 characters."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


class MasterKey:
    """Derives from one secret what digests API keys and what seals stored keys (RFC 5869).

    Attributes:
        of_credentials: Seals the keys of service credentials; 256 bits.
    """

    def __init__(self, master_key: str) -> None:
        self.of_credentials = _derive(master_key, b"agentmesh service credentials")
        self._pepper = _derive(master_key, b"agentmesh api key pepper")
        # Fernet wants its 32 bytes in base64url.
        self._seal = Fernet(base64.urlsafe_b64encode(_derive(master_key, b"agentmesh sealing key")))

    def digest(self, secret: str) -> bytes:
        """Return HMAC-SHA-256 of an API key's secret: 256 random bits need no slow hash."""
        return hmac.digest(self._pepper, secret.encode(), hashlib.sha256)

    def seal(self, plain: bytes) -> bytes:
        """Encrypt and authenticate."""
        return self._seal.encrypt(plain)

    def unseal(self, sealed: bytes) -> bytes:
        """Undo `seal`.

        Raises:
            MasterKeyWrong: It was sealed under another master key.
        """
        try:
            return self._seal.decrypt(sealed)
        except InvalidToken as error:
            raise MasterKeyWrong from error


def _derive(master_key: str, purpose: bytes) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose)
    return kdf.derive(master_key.encode())
