"""Envoy's own errors, in the shape that service errors have.

A JSON caller gets a `google.rpc.Status` with ErrorInfo and RequestInfo; a gRPC caller
gets the same message as its status message. Neither sees Envoy's internal wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    ExtensionFilter,
    HeaderFilter,
    MetadataFilter,
    OrFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.envoy.type.matcher.v3 import (
    MetadataMatcher,
    MetadataMatcherPathSegment,
    StringMatcher,
    ValueMatcher,
)
from envoy_data_plane.google.protobuf import Any, Struct
from google.rpc import code_pb2

from mesh.common.v1 import error_reason_pb2

DOMAIN = "agentmesh"
TYPE_PREFIX = "type.googleapis.com/google.rpc."
REASON_PREFIX = "ERROR_REASON_"
JSON = "application/json"
BY_TRANSCODER = "response.code_details.contains('grpc_json_transcode_failure')"


@dataclass(frozen=True)
class Reply:
    """What the gateway says when it answers with `status` by itself."""

    status: int
    code: code_pb2.Code
    reason: error_reason_pb2.ErrorReason.ValueType
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    rest: bool = False
    """Whether it stands for all higher statuses that have no reply of their own."""

    def reason_name(self) -> str:
        """Name of the reason as ErrorInfo carries it."""
        return error_reason_pb2.ErrorReason.Name(self.reason).removeprefix(REASON_PREFIX)

    def status_json(self) -> dict[str, object]:
        """Body for a JSON caller, with the request id left for Envoy to fill in."""
        info: dict[str, object] = {
            "@type": f"{TYPE_PREFIX}ErrorInfo",
            "reason": self.reason_name(),
            "domain": DOMAIN,
        }
        if self.metadata:
            info["metadata"] = dict(self.metadata)
        request = {"@type": f"{TYPE_PREFIX}RequestInfo", "requestId": "%REQ(X-REQUEST-ID)%"}
        return {"code": self.code, "message": self.message, "details": [info, request]}

    def json_format(self) -> SubstitutionFormatString:
        """Have Envoy write the body; without a request id, where Envoy has not given one yet."""
        return SubstitutionFormatString(
            json_format=Struct.from_dict(self.status_json()),
            content_type=JSON,
            omit_empty_values=True,
        )


def replies(max_body_bytes: int) -> list[Reply]:
    """List the gateway's own answers, by status."""
    return [
        Reply(
            400,
            code_pb2.INVALID_ARGUMENT,
            error_reason_pb2.ERROR_REASON_INVALID_ARGUMENT,
            "The request can't be read: check the path, the query parameters and the body "
            "against the API reference.",
            rest=True,
        ),
        Reply(
            404,
            code_pb2.NOT_FOUND,
            error_reason_pb2.ERROR_REASON_ROUTE_NOT_FOUND,
            "There is nothing at this path.",
        ),
        Reply(
            405,
            code_pb2.UNIMPLEMENTED,
            error_reason_pb2.ERROR_REASON_METHOD_NOT_ALLOWED,
            "This path does not take this method; the Allow header lists those it takes.",
        ),
        Reply(
            408,
            code_pb2.DEADLINE_EXCEEDED,
            error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
            "The request took too long to arrive; send it again.",
        ),
        Reply(
            413,
            # As services answer what is too large for them: to repeat it is no use.
            code_pb2.INVALID_ARGUMENT,
            error_reason_pb2.ERROR_REASON_REQUEST_TOO_LARGE,
            f"The request body is larger than {max_body_bytes} bytes.",
            {"limit_bytes": str(max_body_bytes)},
        ),
        Reply(
            431,
            code_pb2.RESOURCE_EXHAUSTED,
            error_reason_pb2.ERROR_REASON_REQUEST_TOO_LARGE,
            "The request's headers are too large.",
        ),
        Reply(
            500,
            code_pb2.INTERNAL,
            error_reason_pb2.ERROR_REASON_INTERNAL,
            "Something went wrong inside; the log has the cause under the request id.",
            rest=True,
        ),
        Reply(
            502,
            code_pb2.UNAVAILABLE,
            error_reason_pb2.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
            "The service behind this path broke off; retry after a pause.",
        ),
        Reply(
            503,
            code_pb2.UNAVAILABLE,
            error_reason_pb2.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
            "The service behind this path can't be reached now; retry after a pause.",
        ),
        Reply(
            504,
            code_pb2.DEADLINE_EXCEEDED,
            error_reason_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
            "The service behind this path did not answer in time.",
        ),
    ]


def local_reply_config(max_body_bytes: int) -> LocalReplyConfig:
    """Give every answer of Envoy's own its shape; finished ones of the Lua filter are kept."""
    return LocalReplyConfig(
        mappers=[finished(), unreadable(), *mappers(replies(max_body_bytes))],
        body_format=text_format("%LOCAL_REPLY_BODY%", "text/plain"),
    )


def finished() -> ResponseMapper:
    """Pass a body through that is marked as finished."""
    marked = MetadataMatcher(
        filter="agentmesh",
        path=[MetadataMatcherPathSegment(key="reply")],
        value=ValueMatcher(string_match=StringMatcher(exact="finished")),
    )
    return ResponseMapper(
        filter=AccessLogFilter(
            metadata_filter=MetadataFilter(matcher=marked, match_if_key_not_found=False)
        ),
        body_format_override=text_format("%LOCAL_REPLY_BODY%", JSON),
    )


def unreadable() -> ResponseMapper:
    """Pass on why the transcoder could not read a request; it names the field at fault."""
    reply = Reply(
        400,
        code_pb2.INVALID_ARGUMENT,
        error_reason_pb2.ERROR_REASON_INVALID_ARGUMENT,
        "The request can't be read: %LOCAL_REPLY_BODY%",
    )
    by_transcoder = ExpressionFilter(expression=BY_TRANSCODER)
    return ResponseMapper(
        filter=both(
            statuses(reply),
            AccessLogFilter(
                extension_filter=ExtensionFilter(
                    name="envoy.access_loggers.extension_filters.cel",
                    typed_config=Any.pack(by_transcoder),
                )
            ),
        ),
        body_format_override=reply.json_format(),
    )


def mappers(known: list[Reply]) -> Iterator[ResponseMapper]:
    """Yield two mappers for each reply: one for JSON callers, one for gRPC callers.

    Replies of one status come first, then those that stand for the rest.
    """
    for reply in sorted(known, key=lambda reply: (reply.rest, -reply.status)):
        covered = statuses(reply)
        yield ResponseMapper(
            filter=both(covered, from_json_caller()),
            body_format_override=reply.json_format(),
        )
        yield ResponseMapper(
            filter=covered,
            body=DataSource(inline_string=reply.message),
        )


def both(*filters: AccessLogFilter) -> AccessLogFilter:
    """Combine filters that must all match."""
    return AccessLogFilter(and_filter=AndFilter(filters=list(filters)))


def statuses(reply: Reply) -> AccessLogFilter:
    """Match the HTTP statuses that a reply stands for; the first mapper that matches counts."""
    value = RuntimeUInt32(default_value=reply.status, runtime_key=f"gateway.reply.{reply.status}")
    op = ComparisonFilterOp.GE if reply.rest else ComparisonFilterOp.EQ
    comparison = ComparisonFilter(op=op, value=value)
    return AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=comparison))


def from_json_caller() -> AccessLogFilter:
    """Match requests that came as JSON: not gRPC content, unless the transcoder made it so."""
    grpc_content = HeaderMatcher(
        name="content-type",
        string_match=StringMatcher(prefix="application/grpc"),
        invert_match=True,
        treat_missing_header_as_empty=True,
    )
    transcoded = HeaderMatcher(name="x-envoy-original-method", present_match=True)
    either = [
        AccessLogFilter(header_filter=HeaderFilter(header=matcher))
        for matcher in (grpc_content, transcoded)
    ]
    return AccessLogFilter(or_filter=OrFilter(filters=either))


def text_format(template: str, content_type: str) -> SubstitutionFormatString:
    """Write a body as text."""
    return SubstitutionFormatString(
        text_format_source=DataSource(inline_string=template), content_type=content_type
    )
