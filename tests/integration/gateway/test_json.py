"""HTTP/JSON to gRPC: paths, queries, bodies, headers, streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.integration.gateway.backend import Backend
from tests.integration.gateway.conftest import Gateway


async def test_path_query_and_body_become_the_request(
    http: httpx.AsyncClient, backend: Backend
) -> None:
    task = {"capability": "text.count", "input": {"text": "a b"}, "labels": {"team": "x"}}
    created = await http.post("/api/v1/tasks?request_id=once", json=task)
    assert (created.status_code, created.json()) == (200, task)
    assert backend.last.request.request_id == "once"

    await http.get("/api/v1/tasks/t-1")
    assert backend.last.request.task_id == "t-1"

    listed = await http.get("/api/v1/tasks", params={"page_size": 2, "filter": "state = RUNNING"})
    assert listed.json() == {"tasks": [{"id": "0"}, {"id": "1"}], "nextPageToken": "next"}
    assert backend.last.request.filter == "state = RUNNING"

    cancelled = await http.post("/api/v1/tasks/t-2:cancel")
    assert cancelled.json() == {"id": "t-2", "state": "TASK_STATE_CANCELLED"}


async def test_unary_calls_carry_a_deadline_and_streams_do_not(
    http: httpx.AsyncClient, backend: Backend
) -> None:
    await http.get("/api/v1/tasks/t-1")
    assert 20 < (backend.last.time_remaining or 0) <= 30
    await http.get("/api/v1/tasks/t-1", headers={"grpc-timeout": "20S"})
    assert 0 < (backend.last.time_remaining or 0) <= 20
    backend.go_on.set()
    await http.get("/api/v1/tasks/t-1:watch")
    assert backend.last.time_remaining is None


async def test_request_id_is_made_here_and_told_to_both_sides(
    http: httpx.AsyncClient, backend: Backend
) -> None:
    response = await http.get("/api/v1/tasks/t-1", headers={"x-request-id": "mine"})
    assert response.headers["x-request-id"] == backend.last.metadata["x-request-id"] != "mine"


async def test_identity_headers_of_callers_are_dropped(
    http: httpx.AsyncClient, backend: Backend
) -> None:
    forged = {"X-AgentMesh-Subject": "root", "x-agentmesh-tenant": "other"}
    await http.get("/api/v1/tasks/t-1", headers={**forged, "authorization": "Bearer t"})
    assert not [key for key in backend.last.metadata if key.startswith("x-agentmesh-")]
    assert backend.last.metadata["authorization"] == "Bearer t"


@pytest.mark.usefixtures("backend")
async def test_large_json_is_compressed_on_request(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/v1/tasks?page_size=500", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.json()["tasks"]) == 500


FRAMINGS = [
    ("*/*", "application/json", '[{"sequence":"1","type":"TYPE_CREATED"}'),
    ("application/x-ndjson", "application/x-ndjson", '{"sequence":"1","type":"TYPE_CREATED"}\n'),
    (
        "text/event-stream",
        "text/event-stream",
        'data: {"sequence":"1","type":"TYPE_CREATED"}\n\n',
    ),
]


@pytest.mark.parametrize(("accept", "content_type", "first"), FRAMINGS)
async def test_streams_arrive_message_by_message(
    http: httpx.AsyncClient, backend: Backend, accept: str, content_type: str, first: str
) -> None:
    headers = {"accept": accept, "accept-encoding": "gzip"}
    async with http.stream("GET", "/api/v1/tasks/t-1:watch", headers=headers) as response:
        assert response.headers["content-type"] == content_type
        chunks = response.aiter_text()
        async with asyncio.timeout(30):
            text = await anext(chunks)
            while len(text) < len(first):
                text += await anext(chunks)
        assert text == first  # the backend waits: nothing was held back, nothing follows
        backend.go_on.set()
        text += "".join([chunk async for chunk in chunks])
    assert text.count('"sequence":"2"') == 1


@pytest.mark.usefixtures("backend")
async def test_a_stream_that_fails_at_once_is_an_error_in_json(http: httpx.AsyncClient) -> None:
    headers = {"accept": "text/event-stream"}
    response = await http.get("/api/v1/tasks/missing:watch", headers=headers)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.json()["details"][0]["reason"] == "TASK_NOT_FOUND"


async def test_a_caller_that_leaves_ends_the_call_behind(
    http: httpx.AsyncClient, backend: Backend
) -> None:
    headers = {"accept": "text/event-stream"}
    async with http.stream("GET", "/api/v1/tasks/t-1:watch", headers=headers) as response:
        await anext(response.aiter_text())
        assert not backend.watch_ended.is_set()
    async with asyncio.timeout(30):
        await backend.watch_ended.wait()


@pytest.mark.usefixtures("backend")
async def test_pages_of_allowed_origins_may_call(http: httpx.AsyncClient) -> None:
    origin = "https://console.example.com"
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    for path in ("/api/v1/tasks", "/mesh.task.v1.TaskService/GetTask"):
        answer = await http.options(path, headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
    refused = await http.get("/nowhere", headers={"origin": origin})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (404, origin)
    foreign = await http.get("/api/v1/tasks/1", headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in foreign.headers


async def test_health_needs_no_service(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.usefixtures("backend")
async def test_access_log_is_json_without_the_query(
    http: httpx.AsyncClient, gateway: Gateway
) -> None:
    response = await http.get("/api/v1/tasks/logged?request_id=secret")
    assert response.status_code == 400
    response = await http.get("/api/v1/tasks?filter=secret")
    line = await logged(gateway, response.headers["x-request-id"])
    assert "secret" not in json.dumps(line)
    expected = {
        "method": "GET",
        "path": "/api/v1/tasks",
        "rpc": "/mesh.task.v1.TaskService/ListTasks",
        "status": 200,
        "grpc_status": "OK",
        "service": "task",
    }
    assert {key: line[key] for key in expected} == expected


async def logged(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """Wait for a request's line in the access log, which Envoy flushes at intervals."""
    async with asyncio.timeout(30):
        while True:
            for line in gateway.log.read_text().splitlines():
                if request_id in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            await asyncio.sleep(0.05)
