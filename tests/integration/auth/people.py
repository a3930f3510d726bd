"""Users of a served auth, and what they sign in with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from mesh.auth.v1.auth_service_pb2 import WhoAmIRequest
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from mesh.auth.v1.user_pb2 import User
from mesh.auth.v1.user_service_pb2 import (
    CreateUserRequest,
    CreateUserResponse,
    LoginRequest,
    RefreshTokenRequest,
    ResetPasswordRequest,
    TokenPair,
)
from mesh.auth.v1.user_service_pb2_grpc import UserServiceStub
from meshkit.testing.serving import Served
from tests.integration.auth.replicas import Replica

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple battery horse"


class People:
    """Invites people, has them choose passwords, and signs them in."""

    def __init__(self, auth: Replica, served: Served) -> None:
        self.auth = auth
        self._served = served
        self.anybody = UserServiceStub(served.channel())

    async def admin(self, tenant: str = "acme") -> UserServiceStub:
        """Call as an administrator of a tenant."""
        return self.of(await self.auth.key("admin", tenant=tenant))

    def of(self, token: str) -> UserServiceStub:
        """Call with a token."""
        return UserServiceStub(self._served.channel(token))

    async def invite(self, email: str = ADA, tenant: str = "acme") -> CreateUserResponse:
        """Create a user."""
        admin = await self.admin(tenant)
        return await admin.CreateUser(CreateUserRequest(user=User(email=email, display_name="Ada")))

    async def member(self, *roles: str, email: str = ADA, tenant: str = "acme") -> User:
        """Create a user that has a password and roles."""
        invited = await self.invite(email, tenant)
        await self.choose(invited.invitation)
        for role in roles:
            # As it has been for long: tokens from about the time of a change would be refused.
            await self.execute(
                "INSERT INTO role_bindings (id, tenant, subject, role, creator, create_time)"
                " VALUES (gen_random_uuid(), :tenant, :subject, :role, 'operator', now())",
                tenant=tenant,
                subject=invited.user.subject,
                role=role,
            )
        return invited.user

    async def choose(self, token: str, password: str = PASSWORD) -> None:
        """Choose a password with an invitation or a reset."""
        await self.anybody.ResetPassword(
            ResetPasswordRequest(reset_token=token, new_password=password)
        )

    async def sign_in(self, email: str = ADA, password: str = PASSWORD) -> TokenPair:
        """Sign in."""
        return await self.anybody.Login(LoginRequest(email=email, password=password))

    async def refresh(self, token: str) -> TokenPair:
        """Exchange a refresh token."""
        return await self.anybody.RefreshToken(RefreshTokenRequest(refresh_token=token))

    async def who_is(self, token: str) -> Any:
        """Ask whom a token speaks for."""
        return await AuthServiceStub(self._served.channel(token)).WhoAmI(WhoAmIRequest())

    async def execute(self, statement: str, **values: Any) -> Any:
        """Run SQL on the database."""

        async def work(connection: Any) -> Any:
            result = await connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None

        return await self.auth.database.transaction(work)

    async def pass_time(self, seconds: float) -> None:
        """Have all that sessions, tokens and failures remember be so much longer ago."""
        moved = {
            "sessions": ("create_time", "refresh_time", "expire_time", "end_time", "replace_time"),
            "password_tokens": ("expire_time",),
            "sign_in_failures": ("begin_time",),
        }
        for table, columns in moved.items():
            assignments = ", ".join(
                f"{each} = {each} - make_interval(secs => :s)" for each in columns
            )
            await self.execute(f"UPDATE {table} SET {assignments}", s=seconds)  # noqa: S608 - our own names
