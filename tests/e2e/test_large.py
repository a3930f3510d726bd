"""What is large by JSON: data to 1 MiB goes along with a task, and comes back."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from agentmesh.connection import Connection
from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from tests.e2e.mesh import RunningMesh
from tests.e2e.test_bad_input import reason_and_fields

MIB = 1 << 20


@pytest.fixture
async def http(mesh: RunningMesh) -> AsyncIterator[httpx.AsyncClient]:
    """Call a mesh where some agent has offered `large.thing`."""
    connection = Connection(mesh.url, mesh.admin_key)
    async with connection.channel() as channel:
        agent = agent_pb2.Agent(name="l", capabilities=[agent_pb2.Capability(name="large.thing")])
        request = registry_service_pb2.RegisterAgentRequest(agent=agent)
        await RegistryServiceStub(channel).RegisterAgent(request, metadata=connection.metadata)
    headers = {"authorization": f"Bearer {mesh.admin_key}"}
    url = f"{mesh.url}/api/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield client


def payload(size: int) -> dict[str, object]:
    data = base64.b64encode(os.urandom(size)).decode()
    return {"capability": "large.thing", "inputPayload": {"data": data}}


async def test_a_mebibyte_goes_along_with_a_task(http: httpx.AsyncClient) -> None:
    sent = payload(MIB)
    created = await http.post("/tasks", json=sent)
    assert created.status_code == 200, created.text
    read = await http.get(f"/tasks/{created.json()['id']}")
    assert read.json()["inputPayload"] == sent["inputPayload"]


async def test_text_of_escapes_goes_along_too(http: httpx.AsyncClient) -> None:
    text = "я" * (MIB // 2 - 100)
    body = json.dumps({"capability": "large.thing", "input": {"text": text}})
    assert len(body) > 2.9 * MIB
    created = await http.post("/tasks", content=body)
    assert created.status_code == 200, created.text
    read = await http.get(f"/tasks/{created.json()['id']}")
    assert read.json()["input"] == {"text": text}


async def test_what_is_too_large_is_told_alike_wherever_it_is_found(
    http: httpx.AsyncClient,
) -> None:
    beyond = await http.post("/tasks", json=payload(MIB + 1))
    fields = {"task.input_payload.data": "must be at most 1048576 bytes"}
    assert (beyond.status_code, reason_and_fields(beyond)) == (400, ("INVALID_ARGUMENT", fields))
    for size, status in ((2 * MIB, 400), (4 * MIB, 413)):
        refused = await http.post("/tasks", json=payload(size))
        assert refused.status_code == status
        assert refused.json()["code"] == 3
        assert reason_and_fields(refused) == ("REQUEST_TOO_LARGE", {})


async def test_where_a_watch_begins_is_in_its_headers(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/tasks:watch") as watch:
        offset = watch.headers["agentmesh-offset"]
    created = await http.post("/tasks", json={"capability": "large.thing"})
    path = f"/tasks:watch?afterOffset={offset}"
    async with http.stream("GET", path, headers={"accept": "application/x-ndjson"}) as watch:
        line = await anext(watch.aiter_lines())
    assert created.json()["id"] in line
