"""Checking what a caller presents: an access token or an API key."""

from __future__ import annotations

from typing import Final, Protocol

from meshkit.security.principal import Principal

API_KEY_PREFIX: Final = "mesh_"


class CredentialVerifier(Protocol):
    """Tells whom a credential speaks for."""

    async def verify(self, credential: str) -> Principal:
        """Return the principal of a good credential.

        Raises:
            Unauthenticated: The credential is unknown, expired, revoked or malformed.
            Unavailable: It can't be checked now.
        """
        ...


class Verifier:
    """Sends each credential to the verifier of its kind."""

    def __init__(self, *, tokens: CredentialVerifier, api_keys: CredentialVerifier) -> None:
        self._tokens = tokens
        self._api_keys = api_keys

    async def verify(self, credential: str) -> Principal:
        """Return the principal of a good credential.

        Raises:
            Unauthenticated: The credential is unknown, expired, revoked or malformed.
            Unavailable: It can't be checked now.
        """
        if credential.startswith(API_KEY_PREFIX):
            return await self._api_keys.verify(credential)
        return await self._tokens.verify(credential)
