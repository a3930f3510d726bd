"""Envelope encryption: each secret under a key of its own, which is sealed under one for all.

Both by AES-256-GCM. Another master key needs only the sealed keys written anew, never the
secrets. What is said beside a secret when it is sealed has to be said again to open it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BITS: Final = 256
_NONCE_BYTES: Final = 12


class EnvelopeBroken(Exception):
    """What is stored is not what was sealed: it was altered, or moved to another place."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A secret sealed under a key of its own, and that key sealed."""

    sealed_key: bytes
    sealed_secret: bytes


class Envelopes:
    """Seals and opens secrets under one key of 256 bits."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    def seal(self, secret: str, *, place: bytes, beside: bytes) -> Envelope:
        """Seal a secret: its key is bound to `place`, and itself to what stands `beside` it."""
        key = AESGCM.generate_key(_KEY_BITS)
        return Envelope(
            sealed_key=_sealed(self._key, key, place),
            sealed_secret=_sealed(AESGCM(key), secret.encode(), beside),
        )

    def open(self, envelope: Envelope, *, place: bytes, beside: bytes) -> str:
        """Undo `seal`.

        Raises:
            EnvelopeBroken: Anything is not as it was when the secret was sealed.
        """
        key = _opened(self._key, envelope.sealed_key, place)
        return _opened(AESGCM(key), envelope.sealed_secret, beside).decode()


def _sealed(key: AESGCM, plain: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound)


def _opened(key: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return key.decrypt(nonce, ciphertext, bound)
    except (InvalidTag, ValueError) as error:
        raise EnvelopeBroken("a stored secret was altered or moved") from error
