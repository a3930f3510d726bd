"""Envoy routes, generated from the contracts.

Order: the gateway's health, gRPC, each HTTP binding, a wrong method on a known path,
everything else. All but the first point at a cluster, because Envoy applies CORS to no
other kind of route; those that refuse are answered by the Lua filter.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
)
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    FilterConfig,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
)
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.envoy.extensions.filters.http.compressor.v3 import CompressorPerRoute
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.contracts import Binding, Service, bindings, services
from gateway.path_template import path_regex, specificity
from gateway.settings import GatewaySettings
from gateway.transcoder import StreamForm, transcoder

BUFFER = "envoy.filters.http.buffer"
COMPRESSOR = "envoy.filters.http.compressor"
LUA = "envoy.filters.http.lua"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"

NO_LIMIT = timedelta(0)
# For gRPC calls that are abandoned; none that has a caller takes so long.
MOST_UNARY_IDLE = timedelta(hours=1)
# The service ends an overdue call first and says why; Envoy is the second line.
DEADLINE_SLACK = timedelta(seconds=1)
# Refused before it was processed: safe for any call.
RETRY_UNSENT = "connect-failure,refused-stream"
RETRY_READ = f"{RETRY_UNSENT},unavailable"
GRPC_CONTENT = StringMatcher(prefix="application/grpc")
# Of no use to a JSON caller.
GRPC_RESPONSE_HEADERS = ("grpc-accept-encoding", "grpc-encoding")
HEALTHY = '{"status":"ok"}'


def routes(settings: GatewaySettings, descriptors: Path) -> list[Route]:
    """List every route in the order in which Envoy tries them."""
    fallback = services()[0].peer
    ordered = sorted(bindings(), key=route_order)
    return [
        health_route(),
        *grpc_routes(services()),
        refusal("grpc-unknown", grpc_match(""), fallback, 404),
        *http_routes(ordered, settings, descriptors),
        refusal("unknown", RouteMatch(prefix="/"), fallback, 404),
    ]


def route_order(binding: Binding) -> tuple[tuple[int, int], str]:
    """Order bindings from the most specific path; those of one path stand together."""
    return specificity(binding.template), path_regex(binding.template)


def health_route() -> Route:
    """Answer for the gateway alone: it lives, whatever the services do."""
    return Route(
        name="healthz",
        match=RouteMatch(path="/healthz"),
        direct_response=DirectResponseAction(status=200, body=DataSource(inline_string=HEALTHY)),
        response_headers_to_add=[header("content-type", "application/json")],
        typed_per_filter_config={TRANSCODER: Any.pack(FilterConfig(disabled=True))},
    )


def grpc_routes(known: Iterable[Service]) -> list[Route]:
    """Route gRPC and grpc-web by path. The caller's own deadline rules; a stream may idle."""
    found: list[Route] = []
    for service in known:
        streams = [rpc for rpc in service.methods() if rpc.client_streaming or rpc.server_streaming]
        for rpc in streams:
            path = f"/{service.name}/{rpc.name}"
            action = RouteAction(cluster=service.peer, timeout=NO_LIMIT, idle_timeout=NO_LIMIT)
            found.append(Route(name=path, match=grpc_match(path, whole=True), route=action))
        prefix = f"/{service.name}/"
        action = RouteAction(cluster=service.peer, timeout=NO_LIMIT, idle_timeout=MOST_UNARY_IDLE)
        found.append(Route(name=prefix, match=grpc_match(prefix), route=action))
    return found


def grpc_match(path: str, *, whole: bool = False) -> RouteMatch:
    """Match gRPC content by path; grpc-web too, which Envoy's own gRPC matcher leaves out."""
    headers = [HeaderMatcher(name="content-type", string_match=GRPC_CONTENT)]
    if whole:
        return RouteMatch(path=path, headers=headers)
    return RouteMatch(prefix=path or "/", headers=headers)


def http_routes(
    ordered: Iterable[Binding], settings: GatewaySettings, descriptors: Path
) -> list[Route]:
    """Route each binding, and refuse other methods on each known path."""
    found: list[Route] = []
    for regex, group in groupby(ordered, key=lambda binding: path_regex(binding.template)):
        same_path = list(group)
        for binding in same_path:
            found += binding_routes(binding, settings, descriptors)
        allowed = ", ".join(sorted({binding.verb for binding in same_path}))
        match = RouteMatch(safe_regex=RegexMatcher(regex=regex))
        name = f"* {same_path[0].template}"
        found.append(refusal(name, match, same_path[0].peer, 405, allowed))
    return found


def binding_routes(binding: Binding, settings: GatewaySettings, descriptors: Path) -> list[Route]:
    """Route one binding: a unary call by one route, a stream by one for each form."""
    if not binding.streams_response:
        return [unary_route(binding, settings)]
    forms = (StreamForm.EVENTS, StreamForm.LINES, StreamForm.ARRAY)
    return [stream_route(binding, settings, descriptors, form) for form in forms]


def unary_route(binding: Binding, settings: GatewaySettings) -> Route:
    """Route a unary call, with a deadline and, where it takes a body, the check of that body."""
    deadline = timedelta(seconds=settings.request_seconds)
    return Route(
        name=f"{binding.verb} {binding.template}",
        match=binding_match(binding),
        route=RouteAction(
            cluster=binding.peer,
            timeout=deadline + DEADLINE_SLACK,
            idle_timeout=deadline + DEADLINE_SLACK,
            retry_policy=RetryPolicy(
                retry_on=RETRY_READ if binding.verb == "GET" else RETRY_UNSENT, num_retries=2
            ),
        ),
        request_headers_to_add=[default_header("grpc-timeout", grpc_timeout(deadline))],
        response_headers_to_remove=list(GRPC_RESPONSE_HEADERS),
        typed_per_filter_config={
            **body_policy(settings),
            **lua_policy(request_context(binding)),
        },
    )


def stream_route(
    binding: Binding, settings: GatewaySettings, descriptors: Path, form: StreamForm
) -> Route:
    """Route a server stream in the form that the caller accepts, without deadline or buffering."""
    accepts = HeaderMatcher(name="accept", string_match=StringMatcher(contains=form.value))
    wanted = [] if form is StreamForm.ARRAY else [accepts]
    framing = transcoder(descriptors, settings.max_body_bytes, form)
    return Route(
        name=f"{binding.verb} {binding.template} as {form.value}",
        match=binding_match(binding, *wanted),
        route=RouteAction(cluster=binding.peer, timeout=NO_LIMIT, idle_timeout=NO_LIMIT),
        response_headers_to_remove=list(GRPC_RESPONSE_HEADERS),
        typed_per_filter_config={
            TRANSCODER: Any.pack(framing),
            COMPRESSOR: Any.pack(CompressorPerRoute(disabled=True)),
            **body_policy(settings),
            **lua_policy({"stream": form.value, **request_context(binding)}),
        },
    )


def binding_match(binding: Binding, *headers: HeaderMatcher) -> RouteMatch:
    """Match the method and path of a binding, and further headers."""
    method = HeaderMatcher(name=":method", string_match=StringMatcher(exact=binding.verb))
    return RouteMatch(
        safe_regex=RegexMatcher(regex=path_regex(binding.template)), headers=[method, *headers]
    )


def body_policy(settings: GatewaySettings) -> dict[str, Any]:
    """Bound the body, whether or not the binding wants one."""
    bound = Buffer(max_request_bytes=settings.max_body_bytes)
    return {BUFFER: Any.pack(BufferPerRoute(buffer=bound))}


def lua_policy(context: dict[str, str]) -> dict[str, Any]:
    """Have the Lua filter act on a route as the context says."""
    return {LUA: Any.pack(LuaPerRoute(filter_context=Struct.from_dict(context)))}


def request_context(binding: Binding) -> dict[str, str]:
    """Tell the Lua filter what the query and the body of a binding stand for."""
    context = {"message": str(binding.request.full_name)}
    return context | ({"field": binding.body} if binding.body else {})


def refusal(name: str, match: RouteMatch, peer: str, status: int, allow: str = "") -> Route:
    """Answer with a status, and the methods that are allowed if it is 405."""
    return Route(
        name=name,
        match=match,
        route=RouteAction(cluster=peer),
        typed_per_filter_config=lua_policy({"status": str(status), "allow": allow}),
    )


def grpc_timeout(span: timedelta) -> str:
    """Write a span as a `grpc-timeout`, in milliseconds."""
    return f"{span // timedelta(milliseconds=1)}m"


def header(name: str, value: str) -> HeaderValueOption:
    """Set a header, whatever it was."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def default_header(name: str, value: str) -> HeaderValueOption:
    """Set a header that the request lacks."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
    )
