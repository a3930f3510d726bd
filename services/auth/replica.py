"""A replica of auth: its parts, and what ties them together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mesh.auth.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from mesh.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from mesh.auth.v1.credential_service_pb2_grpc import add_CredentialServiceServicer_to_server
from mesh.auth.v1.guard_service_pb2_grpc import add_GuardServiceServicer_to_server
from mesh.auth.v1.rate_limit_service_pb2_grpc import add_RateLimitServiceServicer_to_server
from mesh.auth.v1.role_service_pb2_grpc import add_RoleServiceServicer_to_server
from mesh.auth.v1.user_service_pb2_grpc import add_UserServiceServicer_to_server
from meshkit.database.engine import Database
from meshkit.limits.limiter import Limiter
from meshkit.security.credentials import Verifier
from meshkit.server import Server
from meshkit.settings import IdentitySettings
from services.auth.envelopes import Envelopes
from services.auth.secrets import MasterKey
from services.auth.servicer.audit import AuditServicer
from services.auth.servicer.credentials import CredentialServicer
from services.auth.servicer.guard import GuardServicer
from services.auth.servicer.keys import AuthServicer
from services.auth.servicer.limits import RateLimitServicer
from services.auth.servicer.roles import RoleServicer
from services.auth.servicer.users import UserServicer
from services.auth.settings import AuthSettings
from services.auth.usecases.accounts import Accounts
from services.auth.usecases.audit import AuditLog, Checkpoints
from services.auth.usecases.credentials import ServiceCredentials
from services.auth.usecases.key_uses import CountedKeys
from services.auth.usecases.keys import ApiKeys
from services.auth.usecases.limits import Overrides, RateLimits
from services.auth.usecases.permissions import Permissions
from services.auth.usecases.revocations import OwnVerifier, Revocations
from services.auth.usecases.roles import Roles
from services.auth.usecases.tokens import Tokens, check_master_key


class Replica:
    """What one process of the service runs; replicas share the database and nothing else.

    Attributes:
        verifier: Checks callers, with the replica's own keys.
        audit_log: Where decisions are put on record, auth's own among them.
        limiter: Holds callers of auth to their rate limits, on its own database.
    """

    def __init__(
        self, database: Database, settings: AuthSettings, identity: IdentitySettings
    ) -> None:
        self.database = database
        self.master = MasterKey(settings.master_key.get_secret_value())
        self.revocations = Revocations(database)
        self.permissions = Permissions(database)
        self.roles = Roles(database, self.revocations)
        self.api_keys = ApiKeys(
            database,
            self.master,
            self.permissions,
            self.revocations,
            environment=settings.key_environment,
        )
        self.tokens = Tokens(
            database,
            self.master,
            self.api_keys,
            issuer=identity.issuer,
            audience=identity.audience,
            lifetime=settings.token_lifetime,
        )
        self.credentials = ServiceCredentials(
            database, Envelopes(self.master.of_credentials), callers=settings.credential_callers
        )
        self.rate_limits = RateLimits(database)
        self.overrides = Overrides(database, self.revocations)
        self.limiter = Limiter(self.rate_limits)
        self.accounts = Accounts(
            database,
            self.master,
            settings,
            signer=self.tokens,
            permissions=self.permissions,
            revocations=self.revocations,
        )
        self.audit_log = AuditLog(database)
        self.checkpoints = Checkpoints(
            database, self.tokens.sign_text, interval=settings.audit_checkpoint_interval
        )
        self.own_verifier = OwnVerifier(self.tokens, self.revocations, identity)
        self.counted_keys = CountedKeys(self.api_keys)
        self.verifier = Verifier(tokens=self.own_verifier.tokens, api_keys=self.counted_keys)

    async def prepare(self) -> None:
        """Make what there must be before the first call.

        Raises:
            MasterKeyWrong: What is stored was sealed under another master key.
        """
        await self.tokens.signing_keys()
        await check_master_key(self.database, self.master)

    def add_to(self, server: Server) -> None:
        """Have the server serve this replica."""
        keys = AuthServicer(self.api_keys, self.tokens, self.own_verifier.tokens)
        server.add(add_AuthServiceServicer_to_server, keys)
        server.add(add_RoleServiceServicer_to_server, RoleServicer(self.roles, self.permissions))
        server.add(add_AuditServiceServicer_to_server, AuditServicer(self.audit_log))
        server.add(add_CredentialServiceServicer_to_server, CredentialServicer(self.credentials))
        guard = GuardServicer(self.revocations, self.rate_limits)
        server.add(add_GuardServiceServicer_to_server, guard)
        server.add(add_RateLimitServiceServicer_to_server, RateLimitServicer(self.overrides))
        server.add(add_UserServiceServicer_to_server, UserServicer(self.accounts))

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, until cancelled."""
        return [
            *self.revocations.background(),
            self.own_verifier.run(),
            self.tokens.run(),
            self.counted_keys.run(),
            self.checkpoints.run(),
            self.rate_limits.run(),
            self.accounts.leftovers.run(),
        ]
