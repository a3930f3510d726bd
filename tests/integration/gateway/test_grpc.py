"""gRPC and grpc-web on the port that serves JSON."""

from __future__ import annotations

import struct
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio

from mesh.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from mesh.task.v1 import (
    dispatch_service_pb2,
    dispatch_service_pb2_grpc,
    task_pb2,
    task_service_pb2,
    task_service_pb2_grpc,
)
from tests.integration.gateway.backend import Backend

FORGED = (("x-agentmesh-subject", "root"), ("authorization", "Bearer t"))


async def test_unary(channel: aio.Channel, backend: Backend) -> None:
    stub = task_service_pb2_grpc.TaskServiceStub(channel)
    request = task_service_pb2.GetTaskRequest(task_id="t-1")
    task = await stub.GetTask(request, metadata=FORGED, timeout=20)
    assert task.id == "t-1"
    assert "x-agentmesh-subject" not in backend.last.metadata
    assert backend.last.metadata["authorization"] == "Bearer t"
    assert 0 < (backend.last.time_remaining or 0) <= 20


async def test_both_ways_streaming(channel: aio.Channel, backend: Backend) -> None:
    stub = dispatch_service_pb2_grpc.DispatchServiceStub(channel)
    call = stub.Dispatch(metadata=FORGED)
    for epoch in (1, 2):
        hello = dispatch_service_pb2.Hello(holding=[dispatch_service_pb2.Lease(epoch=epoch)])
        await call.write(dispatch_service_pb2.DispatchRequest(hello=hello))
        answer = await call.read()
        assert isinstance(answer, dispatch_service_pb2.DispatchResponse)
        assert answer.welcome.lost[0].epoch == epoch
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert "x-agentmesh-subject" not in backend.last.metadata


@pytest.mark.usefixtures("backend")
async def test_errors_keep_their_details(channel: aio.Channel) -> None:
    stub = task_service_pb2_grpc.TaskServiceStub(channel)
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.GetTask(task_service_pb2.GetTaskRequest(task_id="missing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    trailers = dict(caught.value.trailing_metadata() or ())
    assert "grpc-status-details-bin" in trailers


async def test_a_service_that_is_away_is_told_in_words(channel: aio.Channel) -> None:
    stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.GetAgent(registry_service_pb2.GetAgentRequest(agent_id="a"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == (
        "The service behind this path can't be reached now; retry after a pause."
    )


@pytest.mark.parametrize("method", ["/no.such.Service/Call", "/api/v1/tasks"])
async def test_unknown_methods_are_unimplemented(channel: aio.Channel, method: str) -> None:
    call: Any = channel.unary_unary(method)
    with pytest.raises(aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_grpc_web(http: httpx.AsyncClient, backend: Backend) -> None:
    message = task_service_pb2.GetTaskRequest(task_id="t-1").SerializeToString()
    response = await http.post(
        "/mesh.task.v1.TaskService/GetTask",
        content=frame(message),
        headers={
            "content-type": "application/grpc-web+proto",
            "x-grpc-web": "1",
            "x-agentmesh-subject": "root",
        },
    )
    assert response.headers["content-type"] == "application/grpc-web+proto"
    size = struct.unpack(">xI", response.content[:5])[0]
    assert task_pb2.Task.FromString(response.content[5 : 5 + size]).id == "t-1"
    assert b"grpc-status:0" in response.content[5 + size :]
    assert "x-agentmesh-subject" not in backend.last.metadata


def frame(message: bytes) -> bytes:
    """Put the prefix of a gRPC message before it."""
    return struct.pack(">BI", 0, len(message)) + message
