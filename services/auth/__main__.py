"""The auth process: `python -m services.auth`, and `… create-key` for the first keys."""

from __future__ import annotations

import sys
from functools import partial

from mesh.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from meshkit.foundation import foundation
from meshkit.process import run
from meshkit.security.credentials import Verifier
from meshkit.security.tokens import PublicKeys, TokenVerifier
from services.auth.create_key import MIGRATIONS, create_key
from services.auth.secrets import MasterKey
from services.auth.servicer import AuthServicer
from services.auth.settings import Settings
from services.auth.usecases import ApiKeys, Tokens, check_master_key


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    async with foundation(settings, service="auth", migrations=MIGRATIONS) as base:
        issuer, audience = settings.identity.issuer, settings.identity.audience
        master = MasterKey(settings.auth.master_key.get_secret_value())
        api_keys = ApiKeys(base.database, master, environment=settings.auth.key_environment)
        tokens = Tokens(
            base.database,
            master,
            api_keys,
            issuer=issuer,
            audience=audience,
            lifetime=settings.auth.token_lifetime,
        )
        await tokens.signing_keys()
        await check_master_key(base.database, master)
        keys = PublicKeys(tokens.public_keys)
        own_tokens = TokenVerifier(keys, issuer=issuer, audience=audience)
        server = base.server(Verifier(tokens=own_tokens, api_keys=api_keys))
        await server.add(add_AuthServiceServicer_to_server, AuthServicer(api_keys, tokens)).serve()


if __name__ == "__main__":
    if sys.argv[1:2] == ["create-key"]:
        run(partial(create_key, sys.argv[2:]))
    run(serve)
