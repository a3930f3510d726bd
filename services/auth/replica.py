"""A replica of auth: its parts, and what ties them together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mesh.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.security.credentials import Verifier
from meshkit.security.tokens import PublicKeys, TokenVerifier
from meshkit.server import Server
from meshkit.settings import IdentitySettings
from services.auth.secrets import MasterKey
from services.auth.servicer.keys import AuthServicer
from services.auth.settings import AuthSettings
from services.auth.usecases.keys import ApiKeys, Tokens, check_master_key


class Replica:
    """What one process of the service runs; replicas share the database and nothing else.

    Attributes:
        verifier: Checks callers, with the replica's own keys.
    """

    def __init__(
        self, database: Database, settings: AuthSettings, identity: IdentitySettings
    ) -> None:
        self.database = database
        self.master = MasterKey(settings.master_key.get_secret_value())
        self.api_keys = ApiKeys(database, self.master, environment=settings.key_environment)
        self.tokens = Tokens(
            database,
            self.master,
            self.api_keys,
            issuer=identity.issuer,
            audience=identity.audience,
            lifetime=settings.token_lifetime,
        )
        own_tokens = TokenVerifier(
            PublicKeys(self.tokens.public_keys), issuer=identity.issuer, audience=identity.audience
        )
        self.verifier = Verifier(tokens=own_tokens, api_keys=self.api_keys)

    async def prepare(self) -> None:
        """Make what there must be before the first call.

        Raises:
            MasterKeyWrong: What is stored was sealed under another master key.
        """
        await self.tokens.signing_keys()
        await check_master_key(self.database, self.master)

    def add_to(self, server: Server) -> None:
        """Have the server serve this replica."""
        server.add(add_AuthServiceServicer_to_server, AuthServicer(self.api_keys, self.tokens))

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, until cancelled."""
        return []
