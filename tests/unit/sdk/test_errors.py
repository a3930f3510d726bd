"""What the SDK makes of a status: which calls may be repeated."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from agentmesh.errors import from_rpc_error

RESET = "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"


def rpc_error(code: grpc.StatusCode, words: str, reason: str = "") -> aio.AioRpcError:
    trailers = aio.Metadata()
    if reason:
        packed = Packed()
        packed.Pack(ErrorInfo(reason=reason))
        details = Status(code=code.value[0], message=words, details=[packed])
        trailers.add("grpc-status-details-bin", details.SerializeToString())
    return aio.AioRpcError(code, aio.Metadata(), trailers, words)


@pytest.mark.parametrize(
    ("code", "words", "reason", "decoded", "transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, "refused", "", "UNAVAILABLE", True),
        (grpc.StatusCode.INTERNAL, RESET, "", "UNAVAILABLE", True),
        (grpc.StatusCode.INTERNAL, RESET, "INTERNAL", "INTERNAL", False),
        (grpc.StatusCode.INTERNAL, "can't be read", "", "INTERNAL", False),
        (grpc.StatusCode.NOT_FOUND, "no such task", "TASK_NOT_FOUND", "NOT_FOUND", False),
    ],
)
def test_a_stream_that_was_reset_on_its_way_may_be_opened_again(
    code: grpc.StatusCode, words: str, reason: str, decoded: str, transient: bool
) -> None:
    error = from_rpc_error(rpc_error(code, words, reason))
    assert (error.code, error.reason, error.is_transient) == (decoded, reason, transient)
