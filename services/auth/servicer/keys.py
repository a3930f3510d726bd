"""Serves `mesh.auth.v1.AuthService`: API keys and access tokens."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

from mesh.auth.v1 import api_key_pb2, auth_service_pb2, auth_service_pb2_grpc, token_pb2
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from meshkit.security.tokens import TokenVerifier
from meshkit.timestamps import to_timestamp
from services.auth.convert import keys as convert
from services.auth.usecases.keys import ApiKeys
from services.auth.usecases.tokens import Tokens


class AuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """Serves `mesh.auth.v1.AuthService`."""

    def __init__(self, api_keys: ApiKeys, tokens: Tokens, verifier: TokenVerifier) -> None:
        self._api_keys = api_keys
        self._tokens = tokens
        self._verifier = verifier

    async def CreateApiKey(
        self, request: auth_service_pb2.CreateApiKeyRequest, context: Context
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """Create a key and show its secret, this once."""
        key, secret = await self._api_keys.create(
            current_principal(), convert.new_key_from_proto(request.api_key)
        )
        return auth_service_pb2.CreateApiKeyResponse(
            api_key=convert.api_key_to_proto(key), secret=secret
        )

    async def GetApiKey(
        self, request: auth_service_pb2.GetApiKeyRequest, context: Context
    ) -> api_key_pb2.ApiKey:
        """Get one key."""
        tenant = current_principal().tenant
        return convert.api_key_to_proto(await self._api_keys.get(tenant, UUID(request.api_key_id)))

    async def ListApiKeys(
        self, request: auth_service_pb2.ListApiKeysRequest, context: Context
    ) -> auth_service_pb2.ListApiKeysResponse:
        """List the tenant's keys."""
        tenant = current_principal().tenant
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant, request.query)
        page = await self._api_keys.list(tenant, request.query, wanted)
        return auth_service_pb2.ListApiKeysResponse(
            api_keys=[convert.api_key_to_proto(key) for key in page.items],
            next_page_token=page.next_page_token,
        )

    async def RevokeApiKey(
        self, request: auth_service_pb2.RevokeApiKeyRequest, context: Context
    ) -> api_key_pb2.ApiKey:
        """End a key for good."""
        tenant = current_principal().tenant
        return convert.api_key_to_proto(
            await self._api_keys.revoke(tenant, UUID(request.api_key_id))
        )

    async def VerifyApiKey(
        self, request: auth_service_pb2.VerifyApiKeyRequest, context: Context
    ) -> token_pb2.Principal:
        """Tell a service whom a key speaks for."""
        return convert.principal_to_proto(await self._api_keys.verify(request.api_key))

    async def ExchangeToken(
        self, request: auth_service_pb2.ExchangeTokenRequest, context: Context
    ) -> auth_service_pb2.ExchangeTokenResponse:
        """Exchange a key for an access token."""
        return convert.token_to_proto(await self._tokens.exchange(request.api_key))

    async def GetJwks(
        self, request: auth_service_pb2.GetJwksRequest, context: Context
    ) -> token_pb2.JsonWebKeySet:
        """Publish the keys that verify access tokens."""
        return convert.jwks_to_proto(await self._tokens.published_keys())

    async def WhoAmI(
        self, request: auth_service_pb2.WhoAmIRequest, context: Context
    ) -> token_pb2.Principal:
        """Tell the caller who it is."""
        return convert.principal_to_proto(current_principal())

    async def RerollApiKey(
        self, request: auth_service_pb2.RerollApiKeyRequest, context: Context
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """Make a key that takes the place of another."""
        key, secret = await self._api_keys.reroll(
            current_principal(), UUID(request.api_key_id), request.grace.ToTimedelta()
        )
        return auth_service_pb2.CreateApiKeyResponse(
            api_key=convert.api_key_to_proto(key), secret=secret
        )

    async def CountKeyUses(
        self, request: auth_service_pb2.CountKeyUsesRequest, context: Context
    ) -> auth_service_pb2.CountKeyUsesResponse:
        """Count uses that a service has seen."""
        uses = {
            UUID(each.api_key_id): (each.count, each.last_time.ToDatetime(UTC))
            for each in request.uses
        }
        await self._api_keys.count_uses([(key_id, *seen) for key_id, seen in uses.items()])
        return auth_service_pb2.CountKeyUsesResponse()

    async def DelegateToken(
        self, request: auth_service_pb2.DelegateTokenRequest, context: Context
    ) -> auth_service_pb2.ExchangeTokenResponse:
        """Let the caller act for a principal."""
        token = await self._tokens.delegate(
            current_principal(), request.subject_token, request.scopes, self._verifier
        )
        return convert.token_to_proto(token)

    async def RotateSigningKey(
        self, request: auth_service_pb2.RotateSigningKeyRequest, context: Context
    ) -> auth_service_pb2.RotateSigningKeyResponse:
        """Make the next signing key."""
        key = await self._tokens.rotate()
        return auth_service_pb2.RotateSigningKeyResponse(
            key_id=key.id, sign_time=to_timestamp(key.sign_time)
        )
