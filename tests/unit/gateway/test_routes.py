"""The routes generated from the contracts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from envoy_data_plane.envoy.config.route.v3 import Route, RouteMatch

from gateway.contracts import bindings, services
from gateway.path_template import path_regex, specificity
from gateway.routes import LUA, grpc_timeout, routes
from gateway.settings import GatewaySettings


@pytest.fixture(scope="module")
def generated() -> list[Route]:
    return routes(GatewaySettings(), Path("contracts.pb"))


def first_match(generated: list[Route], method: str, path: str, **headers: str) -> str:
    """Name the route that Envoy would take."""
    sent = {":method": method, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return next(route.name for route in generated if route.match and fits(route.match, path, sent))


def fits(match: RouteMatch, path: str, sent: dict[str, str]) -> bool:
    """Apply the matchers that the gateway uses, as Envoy would."""
    for header in match.headers:
        wanted, value = header.string_match, sent.get(header.name)
        assert wanted is not None
        if value is None or not (
            value == wanted.exact
            or (wanted.prefix and value.startswith(wanted.prefix))
            or (wanted.contains and wanted.contains in value)
        ):
            return False
    if match.safe_regex is not None:
        return re.fullmatch(match.safe_regex.regex, path) is not None
    return path == match.path or (match.prefix is not None and path.startswith(match.prefix))


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/healthz", "healthz"),
        ("POST", "/api/v1/tasks", "POST /api/v1/tasks"),
        ("GET", "/api/v1/tasks/t-1", "GET /api/v1/tasks/{task_id}"),
        ("POST", "/api/v1/tasks/t-1:cancel", "POST /api/v1/tasks/{task_id}:cancel"),
        ("GET", "/api/v1/tasks/t-1:cancel", "* /api/v1/tasks/{task_id}:cancel"),
        ("GET", "/api/v1/tasks/t-1:bogus", "unknown"),
        ("GET", "/api/v1/tasks/t-1/more", "unknown"),
        ("POST", "/api/v1/apiKeys:verify", "POST /api/v1/apiKeys:verify"),
        ("DELETE", "/api/v1/agents", "* /api/v1/agents"),
        ("GET", "/", "unknown"),
    ],
)
def test_json_takes_the_most_specific_route(
    generated: list[Route], method: str, path: str, name: str
) -> None:
    assert first_match(generated, method, path) == name


@pytest.mark.parametrize(
    "accept", ["application/json", "application/x-ndjson", "text/event-stream"]
)
def test_streams_take_the_route_of_the_accepted_form(generated: list[Route], accept: str) -> None:
    name = first_match(generated, "GET", "/api/v1/tasks/1:watch", accept=f"{accept}, */*")
    assert name == f"GET /api/v1/tasks/{{task_id}}:watch as {accept}"


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc-web+proto"])
def test_grpc_goes_by_its_path_alone(generated: list[Route], content_type: str) -> None:
    def taken(path: str) -> str:
        return first_match(generated, "POST", path, content_type=content_type)

    stream = "/mesh.task.v1.DispatchService/Dispatch"
    assert taken(stream) == stream
    assert taken("/mesh.auth.v1.AuthService/WhoAmI") == "/mesh.auth.v1.AuthService/"
    assert taken("/api/v1/tasks") == taken("/grpc.health.v1.Health/Check") == "grpc-unknown"


def test_every_service_and_binding_is_routed(generated: list[Route]) -> None:
    names = " ".join(route.name for route in generated)
    for service in services():
        assert f"/{service.name}/" in names
    for binding in bindings():
        assert f"{binding.verb} {binding.template}" in names


def test_streams_have_no_limit_and_unary_calls_do(generated: list[Route]) -> None:
    by_name = {route.name: route for route in generated}
    dispatch = by_name["/mesh.task.v1.DispatchService/Dispatch"].route
    assert dispatch is not None
    assert dispatch.timeout == dispatch.idle_timeout == timedelta(0)
    get = by_name["GET /api/v1/tasks/{task_id}"]
    assert get.route is not None
    assert get.route.timeout == timedelta(seconds=31)
    added = [
        (option.header.key, option.header.value)
        for option in get.request_headers_to_add
        if option.header
    ]
    assert added == [("grpc-timeout", "30000m")]


def test_only_routes_that_ask_for_it_run_lua(generated: list[Route]) -> None:
    by_name = {route.name: route for route in generated}
    assert LUA in by_name["POST /api/v1/tasks"].typed_per_filter_config
    assert LUA in by_name["GET /api/v1/tasks"].typed_per_filter_config
    assert LUA not in by_name["/mesh.task.v1.TaskService/"].typed_per_filter_config


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/v1/{name}", "/v1/a-b.c", True),
        ("/v1/{name}", "/v1/a/b", False),
        ("/v1/{name}", "/v1/a:verb", False),
        ("/v1/{name}", "/v1/", False),
        ("/v1/{name=items/*}", "/v1/items/a", True),
        ("/v1/{name=items/*}", "/v1/other/a", False),
        ("/v1/{name=**}:verb", "/v1/a/b/c:verb", True),
        ("/v1/a.b", "/v1/axb", False),
    ],
)
def test_path_templates(template: str, path: str, matches: bool) -> None:
    assert (re.fullmatch(path_regex(template), path) is not None) is matches


def test_literal_paths_come_before_variables() -> None:
    templates = ["/v1/{a}", "/v1/{a}:verb", "/v1/list", "/v1/{a}/{b}"]
    ordered = ["/v1/list", "/v1/{a}:verb", "/v1/{a}", "/v1/{a}/{b}"]
    assert sorted(templates, key=specificity) == ordered


def test_grpc_timeout_is_in_milliseconds() -> None:
    assert grpc_timeout(timedelta(seconds=1.5)) == "1500m"
