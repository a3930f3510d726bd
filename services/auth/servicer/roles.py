"""Serves `mesh.auth.v1.RoleService`."""

from __future__ import annotations

from uuid import UUID

from mesh.auth.v1 import role_pb2, role_service_pb2, role_service_pb2_grpc
from meshkit.audit import note
from meshkit.interceptors.chain import Context
from meshkit.paging import NEWEST_FIRST, keyset
from meshkit.security.principal import current_principal
from services.auth.convert import roles as convert
from services.auth.usecases.permissions import Permissions
from services.auth.usecases.roles import Roles


class RoleServicer(role_service_pb2_grpc.RoleServiceServicer):
    """Says what callers may do."""

    def __init__(self, roles: Roles, permissions: Permissions) -> None:
        self._roles = roles
        self._permissions = permissions

    async def CreateRole(
        self, request: role_service_pb2.CreateRoleRequest, context: Context
    ) -> role_pb2.Role:
        """Create a role."""
        wanted = convert.role_from_proto(request.role)
        return convert.role_to_proto(await self._roles.create(current_principal(), wanted))

    async def GetRole(
        self, request: role_service_pb2.GetRoleRequest, context: Context
    ) -> role_pb2.Role:
        """Get one role."""
        return convert.role_to_proto(
            await self._roles.get(current_principal().tenant, request.name)
        )

    async def ListRoles(
        self, request: role_service_pb2.ListRolesRequest, context: Context
    ) -> role_service_pb2.ListRolesResponse:
        """List all roles."""
        roles = await self._roles.list(current_principal().tenant)
        return role_service_pb2.ListRolesResponse(
            roles=[convert.role_to_proto(role) for role in roles]
        )

    async def UpdateRole(
        self, request: role_service_pb2.UpdateRoleRequest, context: Context
    ) -> role_pb2.Role:
        """Change a role."""
        wanted = convert.role_from_proto(request.role)
        return convert.role_to_proto(await self._roles.update(current_principal(), wanted))

    async def DeleteRole(
        self, request: role_service_pb2.DeleteRoleRequest, context: Context
    ) -> role_service_pb2.DeleteRoleResponse:
        """Delete a role."""
        await self._roles.delete(current_principal().tenant, request.name)
        return role_service_pb2.DeleteRoleResponse()

    async def CreateRoleBinding(
        self, request: role_service_pb2.CreateRoleBindingRequest, context: Context
    ) -> role_pb2.RoleBinding:
        """Give a role."""
        wanted = request.role_binding
        bound = await self._roles.bind(current_principal(), wanted.subject, wanted.role)
        note(resource=f"{wanted.role} {wanted.subject}")
        return convert.binding_to_proto(bound)

    async def ListRoleBindings(
        self, request: role_service_pb2.ListRoleBindingsRequest, context: Context
    ) -> role_service_pb2.ListRoleBindingsResponse:
        """List who has which role."""
        tenant, subject, role = current_principal().tenant, request.subject, request.role
        wanted = keyset(request.page_size, request.page_token, NEWEST_FIRST, tenant, subject, role)
        page = await self._roles.bindings(tenant, subject, role, wanted)
        return role_service_pb2.ListRoleBindingsResponse(
            role_bindings=[convert.binding_to_proto(binding) for binding in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteRoleBinding(
        self, request: role_service_pb2.DeleteRoleBindingRequest, context: Context
    ) -> role_service_pb2.DeleteRoleBindingResponse:
        """Take a role away."""
        await self._roles.unbind(current_principal().tenant, UUID(request.role_binding_id))
        return role_service_pb2.DeleteRoleBindingResponse()

    async def CheckPermission(
        self, request: role_service_pb2.CheckPermissionRequest, context: Context
    ) -> role_service_pb2.CheckPermissionResponse:
        """Tell whether something is allowed."""
        [allowed] = await self._permissions.check(
            current_principal(), request.subject, [request.permission]
        )
        return role_service_pb2.CheckPermissionResponse(allowed=allowed)

    async def BatchCheckPermissions(
        self, request: role_service_pb2.BatchCheckPermissionsRequest, context: Context
    ) -> role_service_pb2.BatchCheckPermissionsResponse:
        """Tell of several whether they are allowed."""
        allowed = await self._permissions.check(
            current_principal(), request.subject, request.permissions
        )
        return role_service_pb2.BatchCheckPermissionsResponse(allowed=allowed)

    async def ExplainPermission(
        self, request: role_service_pb2.ExplainPermissionRequest, context: Context
    ) -> role_service_pb2.ExplainPermissionResponse:
        """Tell why something is allowed or not."""
        found = await self._permissions.explain(
            current_principal(), request.subject, request.permission
        )
        return convert.explanation_to_proto(found)
