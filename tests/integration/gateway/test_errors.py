"""Every error that a JSON caller sees has one shape."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.integration.gateway.answers import TYPE, expected
from tests.integration.gateway.backend import Backend
from tests.integration.gateway.conftest import Gateway


@pytest.mark.usefixtures("backend")
async def test_service_errors_pass_unchanged(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/v1/tasks/missing")
    assert response.status_code == 404
    assert response.json() == {
        "code": 5,
        "message": "There is no such task.",
        "details": [
            {"@type": f"{TYPE}ErrorInfo", "reason": "TASK_NOT_FOUND", "domain": "agentmesh"},
            {"@type": f"{TYPE}RequestInfo", "requestId": "r-1"},
        ],
    }


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/nowhere", "/api/v1/tasks/1:bogus"])
async def test_unknown_route(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert response.status_code == 404
    assert response.json() == expected(
        response, 5, "ROUTE_NOT_FOUND", "There is nothing at this path."
    )


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/tasks", "GET, POST"),
        ("GET", "/api/v1/tasks/1:cancel", "POST"),
        ("POST", "/api/v1/tasks/1:watch", "GET"),
        ("PUT", "/api/v1/agents/1", "DELETE, GET"),
        ("OPTIONS", "/api/v1/tools", "GET, POST"),
    ],
)
async def test_wrong_method(http: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    response = await http.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    assert response.json() == expected(
        response,
        12,
        "METHOD_NOT_ALLOWED",
        "This path does not take this method; the Allow header lists those it takes.",
    )


async def test_service_away(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/v1/agents")
    assert response.status_code == 503
    assert response.json() == expected(
        response,
        14,
        "DEPENDENCY_UNAVAILABLE",
        "The service behind this path can't be reached now; retry after a pause.",
    )


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_body_over_the_limit(http: httpx.AsyncClient, backend: Backend, method: str) -> None:
    response = await http.request(method, "/api/v1/tasks", content=b" " * 200_001)
    assert response.status_code == 413
    assert response.json() == expected(
        response,
        3,
        "REQUEST_TOO_LARGE",
        "The request body is larger than 200000 bytes.",
        metadata={"limit_bytes": "200000"},
    )
    assert not backend.calls


async def test_path_and_body_that_contradict(http: httpx.AsyncClient, backend: Backend) -> None:
    response = await http.post("/api/v1/tasks/1:cancel", json={"task_id": "2"})
    assert response.status_code == 400
    assert response.json()["details"][0]["reason"] == "INVALID_ARGUMENT"
    assert not backend.calls


async def test_headers_with_underscores_are_refused(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz", headers={"x_agentmesh_subject": "root"})
    assert response.status_code == 400
    assert response.json()["details"][0]["reason"] == "INVALID_ARGUMENT"


async def test_statuses_without_a_reply_of_their_own_have_the_shape_too(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 426 ")
    assert json.loads(body)["details"][0]["reason"] == "INVALID_ARGUMENT"


@pytest.mark.usefixtures("backend")
async def test_callers_cannot_steer_envoy(http: httpx.AsyncClient) -> None:
    headers = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-original-path": "/x"}
    response = await http.get("/api/v1/tasks/t-1", headers=headers)
    assert response.status_code == 200
