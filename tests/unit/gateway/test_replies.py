"""The gateway's own errors."""

from __future__ import annotations

import json

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from gateway.replies import replies


def test_each_is_a_google_rpc_status() -> None:
    for reply in replies(1024):
        body = json.dumps(reply.status_json())
        status = json_format.Parse(body, status_pb2.Status())
        info = error_details_pb2.ErrorInfo()
        assert status.code
        assert status.details[0].Unpack(info)
        assert info.domain == "agentmesh"
        assert info.reason == reply.reason_name()
        assert status.details[1].Is(error_details_pb2.RequestInfo.DESCRIPTOR)


def test_the_body_limit_is_told() -> None:
    reply = next(reply for reply in replies(1024) if reply.status == 413)
    assert reply.metadata == {"limit_bytes": "1024"}
    assert "1024 bytes" in reply.message


def test_statuses_are_listed_once() -> None:
    statuses = [reply.status for reply in replies(1024)]
    assert len(statuses) == len(set(statuses))
