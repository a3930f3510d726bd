"""Between auth's messages and its domain."""

from __future__ import annotations

import base64

from mesh.auth.v1 import api_key_pb2, auth_service_pb2, rate_limit_pb2, token_pb2
from meshkit.limits.messages import rate_limit_from_proto, rate_limit_to_proto
from meshkit.limits.rate import RateLimit
from meshkit.security.principal import Principal
from meshkit.timestamps import from_timestamp, to_timestamp
from services.auth.domain.keys import ApiKey, SigningKey
from services.auth.signing import Token
from services.auth.usecases.keys import NewKey


def api_key_to_proto(key: ApiKey) -> api_key_pb2.ApiKey:
    """Encode an API key, which never holds its secret."""
    return api_key_pb2.ApiKey(
        id=str(key.id),
        display_name=key.display_name,
        roles=key.roles,
        subject=key.subject,
        creator=key.creator,
        create_time=to_timestamp(key.create_time),
        expire_time=to_timestamp(key.expire_time),
        revoke_time=to_timestamp(key.revoke_time),
        scopes=key.scopes,
        rate_limit=limit_or_none(key.rate_limit),
        tenants=key.tenants,
        last_used_time=to_timestamp(key.last_used_time),
        use_count=key.use_count,
        rerolled_from=str(key.rerolled_from) if key.rerolled_from else "",
    )


def new_key_from_proto(wanted: api_key_pb2.ApiKey) -> NewKey:
    """Decode what a key is to be."""
    return NewKey(
        display_name=wanted.display_name,
        roles=tuple(wanted.roles),
        expire_time=from_timestamp(wanted, "expire_time", path="api_key.expire_time"),
        scopes=tuple(wanted.scopes),
        rate_limit=(
            rate_limit_from_proto(wanted.rate_limit) if wanted.HasField("rate_limit") else None
        ),
        tenants=tuple(wanted.tenants),
    )


def limit_or_none(limit: RateLimit | None) -> rate_limit_pb2.RateLimit | None:
    """Encode a rate limit, if there is one."""
    return None if limit is None else rate_limit_to_proto(limit)


def principal_to_proto(principal: Principal) -> token_pb2.Principal:
    """Encode a principal."""
    return token_pb2.Principal(
        subject=principal.subject,
        tenant=principal.tenant,
        permissions=principal.permissions,
        expire_time=to_timestamp(principal.expires_at),
        credential_id=principal.credential_id,
        rate_limit=limit_or_none(principal.rate_limit),
        actors=principal.actors,
        tenants=principal.tenants,
    )


def token_to_proto(token: Token) -> auth_service_pb2.ExchangeTokenResponse:
    """Encode an access token."""
    response = auth_service_pb2.ExchangeTokenResponse(
        access_token=token.text,
        token_type="Bearer",  # noqa: S106 - the scheme's name
    )
    response.expires_in.FromTimedelta(token.lifetime)
    return response


def jwks_to_proto(keys: list[SigningKey]) -> token_pb2.JsonWebKeySet:
    """Encode the public halves of the keys (RFC 8037)."""
    return token_pb2.JsonWebKeySet(
        keys=[
            token_pb2.JsonWebKey(
                kty="OKP",
                crv="Ed25519",
                kid=key.id,
                x=base64.urlsafe_b64encode(key.public_key).decode().rstrip("="),
                alg="EdDSA",
                use="sig",
            )
            for key in keys
        ]
    )
