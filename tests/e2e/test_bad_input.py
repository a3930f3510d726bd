"""Bad input: the same reason and field over JSON and gRPC, nothing stored, nothing leaked."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from grpc import aio

from agentmesh.connection import Connection
from agentmesh.errors import from_rpc_error
from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.e2e.mesh import RunningMesh

Call = Callable[[aio.Channel, Any], Any]
NOBODY: Final = str(uuid.uuid4())
LEAKS: Final = ("Traceback", "asyncpg", "sqlalchemy", "grpc_", "/libs/", "/services/", "SELECT")


def task(**fields: Any) -> Call:
    request = task_service_pb2.CreateTaskRequest(task=task_pb2.Task(**fields))
    return lambda channel, metadata: TaskServiceStub(channel).CreateTask(request, metadata=metadata)


def get_task(task_id: str) -> Call:
    request = task_service_pb2.GetTaskRequest(task_id=task_id)
    return lambda channel, metadata: TaskServiceStub(channel).GetTask(request, metadata=metadata)


def list_tasks(filter_: str) -> Call:
    request = task_service_pb2.ListTasksRequest(filter=filter_)
    return lambda channel, metadata: TaskServiceStub(channel).ListTasks(request, metadata=metadata)


def register(**fields: Any) -> Call:
    request = registry_service_pb2.RegisterAgentRequest(agent=agent_pb2.Agent(**fields))
    return lambda channel, metadata: RegistryServiceStub(channel).RegisterAgent(
        request, metadata=metadata
    )


CASES = [
    ("POST", "/tasks", {"capability": "no.body"}, task(capability="no.body")),
    ("POST", "/tasks", {"capability": "No Body"}, task(capability="No Body")),
    ("POST", "/tasks", {"capability": "a", "priority": 10}, task(capability="a", priority=10)),
    ("POST", "/tasks", {}, task()),
    ("GET", "/tasks/seven", None, get_task("seven")),
    ("GET", f"/tasks/{NOBODY}", None, get_task(NOBODY)),
    ("GET", "/tasks?filter=color%20=%20red", None, list_tasks("color = red")),
    ("POST", "/agents", {"name": "no capabilities"}, register(name="no capabilities")),
]


async def by_json(
    mesh: RunningMesh, method: str, path: str, body: object, **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"{mesh.url}/api/v1", headers=headers) as client:
        return await client.request(method, path, json=body)


def reason_and_fields(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Read an error of the gateway; assert that it has the one shape and leaks nothing."""
    assert not any(leak in response.text for leak in LEAKS), response.text
    error = response.json()
    assert set(error) == {"code", "message", "details"}
    details = {each["@type"].rpartition(".")[2]: each for each in error["details"]}
    assert details["ErrorInfo"]["domain"] == "agentmesh"
    assert details["RequestInfo"]["requestId"]
    violations = details.get("BadRequest", {}).get("fieldViolations", [])
    return details["ErrorInfo"]["reason"], {
        each["field"]: each["description"] for each in violations
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "call"), CASES, ids=[f"{case[1]} {case[2]}" for case in CASES]
)
async def test_json_and_grpc_say_the_same(
    mesh: RunningMesh, method: str, path: str, body: object, call: Call
) -> None:
    key = {"authorization": f"Bearer {mesh.admin_key}"}
    response = await by_json(mesh, method, path, body, **key)
    connection = Connection(mesh.url, mesh.admin_key)
    async with connection.channel() as channel:
        with pytest.raises(aio.AioRpcError) as refused:
            await call(channel, connection.metadata)
    error = from_rpc_error(refused.value)
    assert reason_and_fields(response) == (error.reason, error.fields)
    assert error.fields
    assert response.json()["message"] == str(error)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "CREDENTIAL_MISSING"),
        ({"authorization": "Basic eDp5"}, "CREDENTIAL_MISSING"),
        ({"authorization": "Bearer x.y.z"}, "CREDENTIAL_INVALID"),
        ({"authorization": "Bearer mesh_dev_nonsense"}, "CREDENTIAL_INVALID"),
        ({"x-api-key": f"mesh_dev_{'0' * 32}_{'a' * 43}00000000"}, "CREDENTIAL_INVALID"),
    ],
)
async def test_a_missing_or_wrong_key(
    mesh: RunningMesh, headers: dict[str, str], reason: str
) -> None:
    response = await by_json(mesh, "GET", "/tasks", None, **headers)
    assert response.status_code == 401
    assert reason_and_fields(response) == (reason, {})


@pytest.mark.parametrize(
    ("body", "status", "reason", "fields"),
    [
        ("{", 400, "MALFORMED_JSON", {}),
        ('{"inptu": {}}', 400, "UNKNOWN_FIELD", {"task.inptu": "no such field"}),
        (
            '{"priority": "high"}',
            400,
            "INVALID_ARGUMENT",
            {"task.priority": "must be a 32-bit integer"},
        ),
        ('{"input": {"a": "' + "x" * (2 << 20) + '"}}', 400, "REQUEST_TOO_LARGE", {}),
        ('{"input": {"a": "' + "x" * (5 << 20) + '"}}', 413, "REQUEST_TOO_LARGE", {}),
    ],
    ids=["malformed", "unknown field", "wrong type", "over the service's limit", "over the edge's"],
)
async def test_a_bad_body(
    mesh: RunningMesh, body: str, status: int, reason: str, fields: dict[str, str]
) -> None:
    headers = {"authorization": f"Bearer {mesh.admin_key}"}
    async with httpx.AsyncClient(base_url=f"{mesh.url}/api/v1", headers=headers) as client:
        before = (await client.get("/tasks")).text
        response = await client.post("/tasks", content=body)
        assert (await client.get("/tasks")).text == before
    assert response.status_code == status
    assert reason_and_fields(response) == (reason, fields)
