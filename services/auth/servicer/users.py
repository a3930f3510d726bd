"""Serves `mesh.auth.v1.UserService`: users, how they sign in, and their sessions."""

from __future__ import annotations

from uuid import UUID

from mesh.auth.v1 import user_pb2, user_service_pb2, user_service_pb2_grpc
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from meshkit.timestamps import to_timestamp
from services.auth.convert import users as convert
from services.auth.usecases.accounts import Accounts


class UserServicer(user_service_pb2_grpc.UserServiceServicer):
    """Serves `mesh.auth.v1.UserService`."""

    def __init__(self, accounts: Accounts) -> None:
        self._users = accounts.users
        self._passwords = accounts.passwords
        self._sign_ins = accounts.sign_ins
        self._sessions = accounts.sessions

    async def CreateUser(
        self, request: user_service_pb2.CreateUserRequest, context: Context
    ) -> user_service_pb2.CreateUserResponse:
        """Create a user and show its invitation, this once."""
        made = await self._users.invite(
            current_principal().tenant,
            email=request.user.email,
            display_name=request.user.display_name,
        )
        return user_service_pb2.CreateUserResponse(
            user=convert.user_to_proto(made.user),
            invitation=made.token,
            expire_time=to_timestamp(made.expire_time),
        )

    async def GetUser(
        self, request: user_service_pb2.GetUserRequest, context: Context
    ) -> user_pb2.User:
        """Get one user."""
        tenant = current_principal().tenant
        return convert.user_to_proto(await self._users.get(tenant, UUID(request.user_id)))

    async def ListUsers(
        self, request: user_service_pb2.ListUsersRequest, context: Context
    ) -> user_service_pb2.ListUsersResponse:
        """List the tenant's users."""
        tenant = current_principal().tenant
        wanted = keyset(
            request.page_size, request.page_token, NEWEST_FIRST, tenant, "users", request.query
        )
        page = await self._users.list(tenant, request.query, wanted)
        return user_service_pb2.ListUsersResponse(
            users=[convert.user_to_proto(user) for user in page.items],
            next_page_token=page.next_page_token,
        )

    async def DisableUser(
        self, request: user_service_pb2.DisableUserRequest, context: Context
    ) -> user_pb2.User:
        """Keep a user from signing in."""
        tenant = current_principal().tenant
        return convert.user_to_proto(await self._users.disable(tenant, UUID(request.user_id)))

    async def EnableUser(
        self, request: user_service_pb2.EnableUserRequest, context: Context
    ) -> user_pb2.User:
        """Let a user sign in again."""
        tenant = current_principal().tenant
        return convert.user_to_proto(await self._users.enable(tenant, UUID(request.user_id)))

    async def Login(
        self, request: user_service_pb2.LoginRequest, context: Context
    ) -> user_service_pb2.TokenPair:
        """Sign in."""
        origin = convert.origin_of(context.invocation_metadata() or (), context.peer())
        pair = await self._sign_ins.sign_in(request.email, request.password, origin)
        return convert.pair_to_proto(pair)

    async def RefreshToken(
        self, request: user_service_pb2.RefreshTokenRequest, context: Context
    ) -> user_service_pb2.TokenPair:
        """Exchange a refresh token for a new pair."""
        return convert.pair_to_proto(await self._sessions.refresh(request.refresh_token))

    async def Logout(
        self, request: user_service_pb2.LogoutRequest, context: Context
    ) -> user_service_pb2.LogoutResponse:
        """End the session of a refresh token."""
        await self._sessions.sign_out(request.refresh_token)
        return user_service_pb2.LogoutResponse()

    async def ChangePassword(
        self, request: user_service_pb2.ChangePasswordRequest, context: Context
    ) -> user_service_pb2.ChangePasswordResponse:
        """Change the caller's password."""
        caller = current_principal()
        await self._passwords.change(caller, request.password, request.new_password)
        return user_service_pb2.ChangePasswordResponse()

    async def CreatePasswordReset(
        self, request: user_service_pb2.CreatePasswordResetRequest, context: Context
    ) -> user_service_pb2.CreatePasswordResetResponse:
        """Make a token to choose a new password with."""
        token, expiry = await self._passwords.create_reset(
            current_principal(), UUID(request.user_id)
        )
        return user_service_pb2.CreatePasswordResetResponse(
            reset_token=token, expire_time=to_timestamp(expiry)
        )

    async def ResetPassword(
        self, request: user_service_pb2.ResetPasswordRequest, context: Context
    ) -> user_service_pb2.ResetPasswordResponse:
        """Set the password of an invitation or a reset."""
        await self._passwords.reset(request.reset_token, request.new_password)
        return user_service_pb2.ResetPasswordResponse()

    async def ListSessions(
        self, request: user_service_pb2.ListSessionsRequest, context: Context
    ) -> user_service_pb2.ListSessionsResponse:
        """List sessions that go on."""
        caller = current_principal()
        wanted = keyset(
            request.page_size,
            request.page_token,
            NEWEST_FIRST,
            caller.tenant,
            "sessions",
            request.user_id or caller.subject,
        )
        user_id = UUID(request.user_id) if request.user_id else None
        page = await self._sessions.list(caller, user_id, wanted)
        return user_service_pb2.ListSessionsResponse(
            sessions=[convert.session_to_proto(session) for session in page.items],
            next_page_token=page.next_page_token,
        )

    async def EndSession(
        self, request: user_service_pb2.EndSessionRequest, context: Context
    ) -> user_service_pb2.EndSessionResponse:
        """End a session everywhere at once."""
        await self._sessions.end(current_principal(), UUID(request.session_id))
        return user_service_pb2.EndSessionResponse()
