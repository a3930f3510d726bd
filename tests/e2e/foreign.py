"""What another tenant has, and the requests that ask for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from agentmesh.connection import Connection
from gateway.contracts import bindings_of
from mesh.task.v1.blob_service_pb2 import Blob, UploadBlobRequest
from mesh.task.v1.blob_service_pb2_grpc import BlobServiceStub
from tests.e2e.every_rpc import GUARDED
from tests.e2e.forging import bearer

ID: Final = "{id}"
"""Stands in a request for the id of what is asked for."""

PASSWORD: Final = "correct horse battery staple"


@dataclass(frozen=True)
class Asking:
    """How an RPC asks for a resource.

    Attributes:
        resource: Key of what `make` made.
        request: The request, as JSON has it.
        reveals_nothing: The RPC answers OK, for there is nothing to do or to tell.
    """

    resource: str
    request: Mapping[str, Any]
    reveals_nothing: bool = False


_TASK: Final = {"lease": {"task_id": ID, "epoch": 1}}
_PERMISSION: Final = "task:read"

SPECIAL: Final[dict[str, Asking]] = {
    "TaskService.UpdateTask": Asking(
        "task", {"task": {"id": ID, "priority": 3}, "update_mask": "priority"}
    ),
    "TaskService.WatchTasks": Asking("task", {"root_id": ID}),
    "DispatchService.ClaimTasks": Asking(
        "agent", {"agent_id": ID, "capabilities": ["foreign.thing"]}
    ),
    "DispatchService.ReportTasks": Asking(
        "task", {"agent_id": str(uuid4()), "reports": [{**_TASK, "stopped": {}}]}, True
    ),
    "DispatchService.RenewLeases": Asking(
        "task", {"agent_id": str(uuid4()), "holding": [_TASK["lease"]]}, True
    ),
    "RoleService.GetRole": Asking("role", {"name": ID}),
    "RoleService.DeleteRole": Asking("role", {"name": ID}),
    "RoleService.UpdateRole": Asking("role", {"role": {"name": ID, "permissions": [_PERMISSION]}}),
    "RoleService.CreateRoleBinding": Asking(
        "user", {"role_binding": {"subject": f"user:{ID}", "role": "viewer"}}
    ),
    "RoleService.ListRoleBindings": Asking("user", {"subject": f"user:{ID}"}, True),
    "RoleService.CheckPermission": Asking(
        "user", {"subject": f"user:{ID}", "permission": _PERMISSION}
    ),
    "RoleService.BatchCheckPermissions": Asking(
        "user", {"subject": f"user:{ID}", "permissions": [_PERMISSION]}
    ),
    "RoleService.ExplainPermission": Asking(
        "user", {"subject": f"user:{ID}", "permission": _PERMISSION}
    ),
    "CredentialService.GetServiceCredential": Asking("credential", {"name": ID}),
    "CredentialService.DeleteServiceCredential": Asking("credential", {"name": ID}, True),
    "QueueService.DeleteBuildRouting": Asking("routing", {"capability": ID}, True),
    "RateLimitService.DeleteRateLimitOverride": Asking("user", {"subject": f"user:{ID}"}, True),
}
"""By service and name, the RPCs that ask for a resource otherwise than by an id alone."""

NOT_FOR_ONE: Final = {
    # What these name is made in the caller's own tenant, whatever others have.
    "CredentialService.PutServiceCredential",
    "QueueService.SetBuildRouting",
    "RateLimitService.PutRateLimitOverride",
    # A filter of a list.
    "RegistryService.ListCapabilities",
    # Only for services, which act for a tenant.
    "CredentialService.ResolveServiceCredential",
    "GuardService.AcquireCalls",
}
"""RPCs with a name or an id in their requests that ask for no resource of the caller's tenant."""

_NOT_IDS: Final = {"request_id", "build_id"}
_NAMES: Final = {"name", "subject", "capability"}


def short_name(method: MethodDescriptor) -> str:
    """Return the name of an RPC with its service's, without the package."""
    return f"{method.containing_service.name}.{method.name}"


def asks_for_one(method: MethodDescriptor) -> bool:
    """Tell whether a request holds a field that looks like it names a resource."""
    in_path = any("{" in each.template for each in bindings_of("", method))
    return in_path or any(_looks_like_a_name(field) for field in method.input_type.fields)


def _looks_like_a_name(field: FieldDescriptor) -> bool:
    is_id = field.name.endswith("_id") and field.name not in _NOT_IDS
    return field.type == field.TYPE_STRING and (is_id or field.name in _NAMES)


def askings() -> dict[str, tuple[MethodDescriptor, Asking]]:
    """Return how each RPC asks, by its short name: by its one id, if nothing else is said."""
    return {
        short_name(method): (method, SPECIAL.get(short_name(method)) or _by_id(method))
        for method in GUARDED
        if short_name(method) in SPECIAL
        or (asks_for_one(method) and short_name(method) not in NOT_FOR_ONE)
    }


def _by_id(method: MethodDescriptor) -> Asking:
    (field,) = [each.name for each in method.input_type.fields if _looks_like_a_name(each)]
    return Asking(field.removesuffix("_id"), {field: ID})


async def make(url: str, admin_key: str) -> dict[str, str]:
    """Make one of each resource in the admin's tenant; return their ids by kind."""
    async with httpx.AsyncClient(
        base_url=f"{url}/api/v1", headers=bearer(admin_key), timeout=30
    ) as client:
        made = {
            "agent": await _post(
                client, "agents", {"name": "foreign", "capabilities": [{"name": "foreign.thing"}]}
            ),
            "task": await _post(client, "tasks", {"capability": "foreign.thing"}),
            "pause": await _post(client, "pauses", {"capability": "foreign.thing"}),
            "bulk_operation": await _post(
                client, "bulkOperations", {"action": "ACTION_RETRY", "filter": "priority = 9"}
            ),
            "api_key": await _post(
                client, "apiKeys", {"displayName": "foreign", "roles": ["viewer"]}, "apiKey"
            ),
            "tool": await _post(
                client,
                "tools",
                {
                    "name": f"foreign_{uuid4().hex}",
                    "version": "1.0.0",
                    "description": "d",
                    "capability": "foreign.thing",
                    "inputSchema": {"type": "object"},
                },
            ),
            "role": await _post(
                client, "roles", {"name": "foreign-role", "permissions": [_PERMISSION]}, key="name"
            ),
            "credential": "foreign-name",
            "routing": "foreign.thing",
        }
        made |= await _make_user(client)
        for path, body in (
            ("serviceCredentials/foreign-name", {"bearer": {"token": "t"}}),
            ("buildRoutings/foreign.thing", {"currentBuildId": "1"}),
            (f"rateLimits/user%3A{made['user']}", {"rateLimit": {"perSecond": 5}}),
        ):
            (await client.put(f"/{path}", json=body)).raise_for_status()
        made["role_binding"] = await _post(
            client, "roleBindings", {"subject": f"user:{made['user']}", "role": "viewer"}
        )
    made["blob"] = await _upload(url, admin_key)
    return made


async def _make_user(client: httpx.AsyncClient) -> dict[str, str]:
    email = f"{uuid4().hex}@example.com"
    invited = (await client.post("/users", json={"email": email})).raise_for_status().json()
    password = {"resetToken": invited["invitation"], "newPassword": PASSWORD}
    (await client.post("/auth/password:reset", json=password)).raise_for_status()
    login = await client.post("/auth/login", json={"email": email, "password": PASSWORD})
    login.raise_for_status()
    user_id = invited["user"]["id"]
    sessions = (await client.get("/sessions", params={"userId": user_id})).raise_for_status()
    return {"user": user_id, "session": sessions.json()["sessions"][0]["id"]}


async def _post(
    client: httpx.AsyncClient, path: str, body: Any, within: str = "", *, key: str = "id"
) -> str:
    answer = await client.post(f"/{path}", json=body)
    assert answer.is_success, answer.text
    made = answer.json()
    return str((made[within] if within else made)[key])


async def _upload(url: str, admin_key: str) -> str:
    connection = Connection(url, admin_key)
    async with connection.channel() as channel:
        messages = [UploadBlobRequest(blob=Blob()), UploadBlobRequest(data=b"foreign")]
        upload = BlobServiceStub(channel).UploadBlob(iter(messages), metadata=connection.metadata)
        return str((await upload).id)


def missing_like(made: str) -> str:
    """Return an id as long as another, that nothing has."""
    if re.fullmatch(r"[0-9a-f-]{36}", made):
        return str(uuid4())
    return made.replace("foreign", "missing")
