"""Configurations of Envoy's gRPC-JSON transcoder, one for each form a stream can take."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from envoy_data_plane.envoy.extensions.filters.http.grpc_json_transcoder.v3 import (
    GrpcJsonTranscoder,
    GrpcJsonTranscoderPrintOptions,
    GrpcJsonTranscoderRequestValidationOptions,
)

from gateway.contracts import bindings


class StreamForm(Enum):
    """How the messages of a server stream are framed in the HTTP response."""

    ARRAY = "application/json"
    LINES = "application/x-ndjson"
    EVENTS = "text/event-stream"


def transcoder(descriptors: Path, max_body_bytes: int, form: StreamForm) -> GrpcJsonTranscoder:
    """Describe a transcoder of every service that has an HTTP binding.

    The request keeps the route it came in by, so that a binding's route decides the
    deadline and the stream's form.
    """
    return GrpcJsonTranscoder(
        proto_descriptor=str(descriptors),
        services=sorted({str(binding.rpc.containing_service.full_name) for binding in bindings()}),
        match_incoming_request_route=True,
        query_param_unescape_plus=True,
        convert_grpc_status=True,
        max_request_body_size=max_body_bytes,
        print_options=GrpcJsonTranscoderPrintOptions(
            stream_newline_delimited=form is StreamForm.LINES,
            stream_sse_style_delimited=form is StreamForm.EVENTS,
        ),
        request_validation_options=GrpcJsonTranscoderRequestValidationOptions(
            reject_unknown_method=True,
            reject_unknown_query_parameters=True,
            reject_binding_body_field_collisions=True,
        ),
    )
