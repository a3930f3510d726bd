"""How a service checks callers with the auth service, and proves itself to its peers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grpc import aio

from mesh.auth.v1 import auth_service_pb2, auth_service_pb2_grpc, token_pb2
from meshkit.client import Channels
from meshkit.clock import Clock, SystemClock
from meshkit.errors import DomainError, InvalidArgument, Unauthenticated, Unavailable
from meshkit.limits.rate import RateLimit
from meshkit.security.api_keys import ABOUT_API_KEY, CachedApiKeys, refused
from meshkit.security.credentials import CredentialVerifier, Verifier
from meshkit.security.guard import KeyUses, watch_revocations
from meshkit.security.principal import Principal
from meshkit.security.revocations import Revoked
from meshkit.security.tokens import PublicKeys, TokenVerifier
from meshkit.settings import IdentitySettings, PeerSettings
from meshkit.statuses import from_rpc_error
from meshkit.timestamps import from_timestamp

_RENEW_AT = 0.8
_RETRY_SECONDS = 2.0


class ServiceToken:
    """This service's access token, got for its API key and renewed before it expires."""

    def __init__(self, channel: aio.Channel, api_key: str, *, clock: Clock | None = None) -> None:
        self._auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._api_key = api_key
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._expires_at = 0.0

    async def get(self) -> str:
        """Return a token that works.

        Raises:
            Unavailable: There is none, and auth can't be reached or refuses this service.
        """
        now = self._clock.monotonic()
        if now < self._renew_at or (now < self._expires_at and self._lock.locked()):
            return self._token
        async with self._lock:
            if self._clock.monotonic() >= self._renew_at:
                await self._renew()
        return self._token

    async def _renew(self) -> None:
        started = self._clock.monotonic()
        request = auth_service_pb2.ExchangeTokenRequest(api_key=self._api_key)
        try:
            response = await self._auth.ExchangeToken(request)
        except aio.AioRpcError as error:
            if started < self._expires_at:
                self._renew_at = min(started + _RETRY_SECONDS, self._expires_at)
                return
            # Auth refusing this service is not the fault of the caller being served.
            raise _uncheckable() from error
        seconds = response.expires_in.ToNanoseconds() / 1e9
        self._token = response.access_token
        self._renew_at = started + seconds * _RENEW_AT
        self._expires_at = started + seconds


class Identity:
    """A service's side of authentication: its verifier of callers and its channels to peers."""

    def __init__(self, identity: IdentitySettings, peers: PeerSettings) -> None:
        self._anonymous = Channels(peers)
        token = ServiceToken(self._anonymous.to("auth"), identity.api_key.get_secret_value())
        self.channels = Channels(peers, token.get)
        self.revoked = Revoked()
        self._api_keys = CachedApiKeys(
            self._check_api_key,
            fresh_seconds=identity.cache_seconds,
            stale_seconds=identity.stale_seconds,
            size=identity.cache_size,
        )
        self.revoked.on_news(self._api_keys.forget_revoked)
        self.verifier: CredentialVerifier = Verifier(
            tokens=TokenVerifier(
                PublicKeys(self._public_keys),
                issuer=identity.issuer,
                audience=identity.audience,
                revoked=self.revoked,
            ),
            api_keys=self._api_keys,
        )
        self._telling = KeyUses(self.channels.to("auth"), self._api_keys)
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to hear of revocations, and to tell how often keys are used."""
        watching = watch_revocations(self.channels.to("auth"), self.revoked)
        self._running = [asyncio.create_task(each) for each in (watching, self._telling.run())]

    async def close(self) -> None:
        """Tell of the last uses of keys, and close the channels."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.channels.close()
        await self._anonymous.close()

    async def _public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        stub = auth_service_pb2_grpc.AuthServiceStub(self._anonymous.to("auth"))
        try:
            published = await stub.GetJwks(auth_service_pb2.GetJwksRequest())
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return {key.kid: _public_key(key) for key in published.keys}

    async def _check_api_key(self, api_key: str) -> Principal:
        stub = auth_service_pb2_grpc.AuthServiceStub(self.channels.to("auth"))
        try:
            found = await stub.VerifyApiKey(auth_service_pb2.VerifyApiKeyRequest(api_key=api_key))
        except aio.AioRpcError as error:
            raise _about_the_caller(from_rpc_error(error)) from error
        return principal_from_proto(found)


def _about_the_caller(problem: DomainError) -> DomainError:
    """Return what the caller may know: its key is no good, or else it can't be checked now."""
    refuses_the_key = isinstance(problem, Unauthenticated) and problem.metadata == ABOUT_API_KEY
    if refuses_the_key or isinstance(problem, InvalidArgument):
        return refused()
    # Anything else is between this service and auth.
    return _uncheckable()


def _uncheckable() -> Unavailable:
    return Unavailable("Credentials can't be checked now. Try again.", retry_after=1.0)


def principal_from_proto(message: token_pb2.Principal) -> Principal:
    """Decode a principal."""
    limit = message.rate_limit
    return Principal(
        message.subject,
        message.tenant,
        tuple(message.permissions),
        from_timestamp(message, "expire_time"),
        actors=tuple(message.actors),
        credential_id=message.credential_id,
        rate_limit=(
            RateLimit(limit.per_second, limit.burst) if message.HasField("rate_limit") else None
        ),
        tenants=tuple(message.tenants),
    )


def _public_key(key: token_pb2.JsonWebKey) -> Ed25519PublicKey:
    padded = key.x + "=" * (-len(key.x) % 4)
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(padded))
