"""The auth process: `python -m services.auth`, and `… create-key` for the first keys."""

from __future__ import annotations

import sys
from functools import partial

from mesh.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.process import run
from meshkit.security.credentials import Verifier
from meshkit.security.tokens import PublicKeys, TokenVerifier
from meshkit.server import Server
from meshkit.telemetry import logs, metrics, traces
from services.auth.create_key import MIGRATIONS, create_key
from services.auth.secrets import MasterKey
from services.auth.servicer import AuthServicer
from services.auth.settings import Settings
from services.auth.usecases import ApiKeys, Tokens, check_master_key


async def serve() -> None:
    """Build the service out of its parts and serve until told to stop."""
    settings = Settings()
    logs.configure_logs(settings.log, service="auth")
    metrics.serve_metrics(settings.metrics)
    database = Database(settings.database)
    if settings.database.migrate_at_start:
        await migrate(database.url, MIGRATIONS)
    issuer, audience = settings.identity.issuer, settings.identity.audience
    master = MasterKey(settings.auth.master_key.get_secret_value())
    api_keys = ApiKeys(database, master, environment=settings.auth.key_environment)
    lifetime = settings.auth.token_lifetime
    tokens = Tokens(database, master, api_keys, issuer=issuer, audience=audience, lifetime=lifetime)
    await tokens.signing_keys()
    await check_master_key(database, master)
    own_tokens = TokenVerifier(PublicKeys(tokens.public_keys), issuer=issuer, audience=audience)
    server = Server(
        settings.grpc,
        verifier=Verifier(tokens=own_tokens, api_keys=api_keys),
        outermost=traces.tracing_interceptors(settings.telemetry, service="auth"),
        log_calls=settings.log.calls,
        readiness=[database.ping],
    )
    server.add(add_AuthServiceServicer_to_server, AuthServicer(api_keys, tokens))
    await server.serve()
    await database.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["create-key"]:
        run(partial(create_key, sys.argv[2:]))
    run(serve)
