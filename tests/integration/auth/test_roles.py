"""Roles of a tenant, who has them, and what they let one do."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import StatusCode

from mesh.auth.v1 import role_pb2, role_service_pb2
from mesh.auth.v1.api_key_pb2 import ApiKey
from mesh.auth.v1.auth_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    ListApiKeysRequest,
    WhoAmIRequest,
)
from mesh.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from mesh.auth.v1.role_service_pb2_grpc import RoleServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from tests.integration.auth.replicas import Replica

MISSING = "01890000-0000-7000-8000-000000000000"
DENIED, NOT_FOUND = StatusCode.PERMISSION_DENIED, StatusCode.NOT_FOUND


@pytest.fixture
async def roles(auth: Replica, served: Served) -> RoleServiceStub:
    return RoleServiceStub(served.channel(await auth.key("admin")))


@pytest.fixture
async def keys(auth: Replica, served: Served) -> AuthServiceStub:
    return AuthServiceStub(served.channel(await auth.key("admin")))


async def create(stub: RoleServiceStub, name: str, *permissions: str, **rest: Any) -> role_pb2.Role:
    role = role_pb2.Role(name=name, permissions=permissions, **rest)
    return await stub.CreateRole(role_service_pb2.CreateRoleRequest(role=role))


async def key(stub: AuthServiceStub, *roles: str, **rest: Any) -> CreateApiKeyResponse:
    wanted = ApiKey(display_name="a key", roles=roles, **rest)
    return await stub.CreateApiKey(CreateApiKeyRequest(api_key=wanted))


async def bind(stub: RoleServiceStub, subject: str, role: str) -> role_pb2.RoleBinding:
    binding = role_pb2.RoleBinding(subject=subject, role=role)
    return await stub.CreateRoleBinding(
        role_service_pb2.CreateRoleBindingRequest(role_binding=binding)
    )


async def held(served: Served, secret: str) -> list[str]:
    stub = AuthServiceStub(served.channel(secret))
    return list((await stub.WhoAmI(WhoAmIRequest())).permissions)


async def test_a_role_is_made_changed_listed_and_deleted(roles: RoleServiceStub) -> None:
    made = await create(roles, "submitter", "task:create", description="sends", inherits=["viewer"])
    assert (made.built_in, made.description, list(made.inherits)) == (False, "sends", ["viewer"])
    assert await roles.GetRole(role_service_pb2.GetRoleRequest(name="submitter")) == made
    listed = (await roles.ListRoles(role_service_pb2.ListRolesRequest())).roles
    assert [each.name for each in listed if not each.built_in] == ["submitter"]
    assert {"viewer", "analyst", "operator", "admin", "agent", "service"} <= {
        each.name for each in listed if each.built_in
    }
    changed = role_pb2.Role(name="submitter", permissions=["task:*"], etag=made.etag)
    updated = await roles.UpdateRole(role_service_pb2.UpdateRoleRequest(role=changed))
    assert (list(updated.permissions), list(updated.inherits)) == (["task:*"], [])
    with refusal(StatusCode.ABORTED, "ETAG_MISMATCH", "role.etag"):
        await roles.UpdateRole(role_service_pb2.UpdateRoleRequest(role=changed))
    await roles.DeleteRole(role_service_pb2.DeleteRoleRequest(name="submitter"))
    with refusal(NOT_FOUND, "ROLE_NOT_FOUND", "name"):
        await roles.GetRole(role_service_pb2.GetRoleRequest(name="submitter"))


async def test_what_a_role_can_not_be(
    roles: RoleServiceStub, auth: Replica, served: Served
) -> None:
    await create(roles, "one", "task:read")
    for name in ("one", "viewer"):
        with refusal(StatusCode.ALREADY_EXISTS, "ROLE_EXISTS", "role.name"):
            await create(roles, name)
    with refusal(StatusCode.INVALID_ARGUMENT, "ROLE_UNKNOWN", "role.inherits"):
        await create(roles, "two", inherits=["nobody"])
    with refusal(DENIED, "ROLE_NOT_HELD", "role.permissions"):
        await create(roles, "two", "mesh:delegate")
    with refusal(DENIED, "ROLE_NOT_HELD", "role.inherits"):
        await create(roles, "two", inherits=["service"])
    await create(roles, "two", inherits=["one"])
    with refusal(StatusCode.INVALID_ARGUMENT, "ROLE_CYCLE", "role.inherits"):
        await roles.UpdateRole(
            role_service_pb2.UpdateRoleRequest(role=role_pb2.Role(name="one", inherits=["two"]))
        )
    with refusal(StatusCode.FAILED_PRECONDITION, "ROLE_BUILT_IN", "role.name"):
        await roles.UpdateRole(
            role_service_pb2.UpdateRoleRequest(role=role_pb2.Role(name="viewer"))
        )
    with refusal(StatusCode.FAILED_PRECONDITION, "ROLE_IN_USE", "name"):
        await roles.DeleteRole(role_service_pb2.DeleteRoleRequest(name="one"))
    # What a role may hold is bounded by what its maker holds.
    token = await auth.sign({"scope": "role:create task:create"})
    maker = RoleServiceStub(served.channel(token))
    await create(maker, "small", "task:create")
    with refusal(DENIED, "ROLE_NOT_HELD", "role.permissions"):
        await create(maker, "large", "task:*")


async def test_a_role_belongs_to_its_tenant(
    roles: RoleServiceStub, auth: Replica, served: Served
) -> None:
    await create(roles, "own", "task:read")
    elsewhere = RoleServiceStub(served.channel(await auth.key("admin", tenant="umbrella")))
    with refusal(NOT_FOUND, "ROLE_NOT_FOUND", "name"):
        await elsewhere.GetRole(role_service_pb2.GetRoleRequest(name="own"))
    others = AuthServiceStub(served.channel(await auth.key("admin", tenant="umbrella")))
    with refusal(StatusCode.INVALID_ARGUMENT, "ROLE_UNKNOWN", "api_key.roles"):
        await key(others, "own")


async def test_bindings_give_and_take(
    roles: RoleServiceStub, keys: AuthServiceStub, served: Served
) -> None:
    await create(roles, "submitter", "task:create", "self:read")
    made = await key(keys, "submitter")
    assert await held(served, made.secret) == ["self:read", "task:create"]
    bound = await bind(roles, made.api_key.subject, "viewer")
    assert await bind(roles, made.api_key.subject, "viewer") == bound
    assert {"task:create", "agent:read"} <= set(await held(served, made.secret))
    listed = await roles.ListRoleBindings(
        role_service_pb2.ListRoleBindingsRequest(subject=made.api_key.subject)
    )
    assert list(listed.role_bindings) == [bound]
    with refusal(StatusCode.FAILED_PRECONDITION, "ROLE_IN_USE", "name"):
        await roles.DeleteRole(role_service_pb2.DeleteRoleRequest(name="submitter"))
    unbind = role_service_pb2.DeleteRoleBindingRequest(role_binding_id=bound.id)
    await roles.DeleteRoleBinding(unbind)
    assert await held(served, made.secret) == ["self:read", "task:create"]
    with refusal(NOT_FOUND, "ROLE_BINDING_NOT_FOUND", "role_binding_id"):
        await roles.DeleteRoleBinding(unbind)
    with refusal(NOT_FOUND, "SUBJECT_NOT_FOUND", "role_binding.subject"):
        await bind(roles, f"key:{MISSING}", "viewer")
    with refusal(DENIED, "ROLE_NOT_HELD", "role_binding.role"):
        await bind(roles, made.api_key.subject, "service")


async def test_a_changed_role_counts_at_once(
    roles: RoleServiceStub, keys: AuthServiceStub, served: Served
) -> None:
    await create(roles, "submitter", "task:create", "self:read")
    made = await key(keys, "submitter")
    wanted = role_pb2.Role(name="submitter", permissions=["task:read", "self:read"])
    await roles.UpdateRole(role_service_pb2.UpdateRoleRequest(role=wanted))
    assert await held(served, made.secret) == ["self:read", "task:read"]


async def test_scopes_confine_a_key(keys: AuthServiceStub, served: Served) -> None:
    made = await key(keys, "admin", scopes=["task:create", "self:read"])
    assert await held(served, made.secret) == ["self:read", "task:create"]
    stub = AuthServiceStub(served.channel(made.secret))
    with refusal(DENIED, "PERMISSION_DENIED"):
        await stub.ListApiKeys(ListApiKeysRequest())


async def test_permissions_are_checked_and_explained(
    roles: RoleServiceStub, keys: AuthServiceStub, served: Served
) -> None:
    await create(roles, "submitter", "task:create", "self:read")
    await create(roles, "lead", inherits=["submitter"])
    made = await key(keys, "lead")
    bound = await bind(roles, made.api_key.subject, "viewer")
    subject = made.api_key.subject
    checked = await roles.BatchCheckPermissions(
        role_service_pb2.BatchCheckPermissionsRequest(
            subject=subject, permissions=["task:create", "tool:create", "task:read"]
        )
    )
    assert list(checked.allowed) == [True, False, True]
    why = await roles.ExplainPermission(
        role_service_pb2.ExplainPermissionRequest(subject=subject, permission="task:create")
    )
    assert why.allowed
    [grant] = why.grants
    assert (list(grant.roles), grant.held, grant.role_binding_id) == (
        ["lead", "submitter"], "task:create", ""
    )  # fmt: skip
    why = await roles.ExplainPermission(
        role_service_pb2.ExplainPermissionRequest(subject=subject, permission="task:read")
    )
    assert [each.role_binding_id for each in why.grants] == [bound.id]
    why = await roles.ExplainPermission(
        role_service_pb2.ExplainPermissionRequest(subject=subject, permission="tool:create")
    )
    assert (why.allowed, list(why.grants)) == (False, [])
    assert list(why.would_allow) == ["admin", "operator"]
    assert "lead, viewer" in why.explanation
    # Of itself anybody may ask, of others only who may read roles.
    itself = RoleServiceStub(served.channel(made.secret))
    allowed = await itself.CheckPermission(
        role_service_pb2.CheckPermissionRequest(permission="task:create")
    )
    assert allowed.allowed
    with refusal(DENIED, "PERMISSION_DENIED"):
        await itself.CheckPermission(
            role_service_pb2.CheckPermissionRequest(
                subject=f"key:{MISSING}", permission="task:create"
            )
        )
    with refusal(NOT_FOUND, "SUBJECT_NOT_FOUND", "subject"):
        await roles.CheckPermission(
            role_service_pb2.CheckPermissionRequest(
                subject=f"key:{MISSING}", permission="task:create"
            )
        )
