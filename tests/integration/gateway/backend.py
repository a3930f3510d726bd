# ruff: noqa: N802 (names are the proto's)
"""A real gRPC server for the gateway to stand before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import dispatch_service_pb2_grpc, task_pb2, task_service_pb2_grpc
from mesh.task.v1 import task_service_pb2 as contract


@dataclass
class Call:
    """One call that reached the backend."""

    method: str
    request: Any
    metadata: dict[str, str]
    time_remaining: float | None


@dataclass
class Backend(
    task_service_pb2_grpc.TaskServiceServicer, dispatch_service_pb2_grpc.DispatchServiceServicer
):
    """A task service that records its calls and answers as told."""

    calls: list[Call] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let a waiting call answer, or a stream send its next event."""
    watch_ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> Call:
        return self.calls[-1]

    def record(self, method: str, request: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.calls.append(Call(method, request, metadata, context.time_remaining()))

    async def CreateTask(self, request: contract.CreateTaskRequest, context: Any) -> task_pb2.Task:
        self.record("CreateTask", request, context)
        return request.task

    async def GetTask(self, request: contract.GetTaskRequest, context: Any) -> task_pb2.Task:
        self.record("GetTask", request, context)
        if request.task_id == "waits":
            await self.go_on.wait()
        if request.task_id == "missing":
            await abort(context)
        return task_pb2.Task(id=request.task_id, priority=3)

    async def ListTasks(
        self, request: contract.ListTasksRequest, context: Any
    ) -> contract.ListTasksResponse:
        self.record("ListTasks", request, context)
        return contract.ListTasksResponse(
            tasks=[task_pb2.Task(id=str(number)) for number in range(request.page_size)],
            next_page_token="next",
        )

    async def CancelTask(self, request: contract.CancelTaskRequest, context: Any) -> task_pb2.Task:
        self.record("CancelTask", request, context)
        return task_pb2.Task(id=request.task_id, state=task_pb2.TASK_STATE_CANCELLED)

    async def WatchTask(
        self, request: contract.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        self.record("WatchTask", request, context)
        if request.task_id == "missing":
            await abort(context)
        try:
            yield task_pb2.TaskEvent(sequence=1, type=task_pb2.TaskEvent.TYPE_CREATED)
            await self.go_on.wait()
            yield task_pb2.TaskEvent(sequence=2, type=task_pb2.TaskEvent.TYPE_SUCCEEDED)
        finally:
            self.watch_ended.set()

    async def Dispatch(
        self, request_iterator: AsyncIterator[dispatch.DispatchRequest], context: Any
    ) -> AsyncIterator[dispatch.DispatchResponse]:
        self.record("Dispatch", None, context)
        async for request in request_iterator:
            lost = request.hello.holding
            yield dispatch.DispatchResponse(welcome=dispatch.Welcome(lost=lost))


async def abort(context: Any) -> None:
    """Answer NOT_FOUND with details, as the services do."""
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="There is no such task.")
    for detail in (
        error_details_pb2.ErrorInfo(reason="TASK_NOT_FOUND", domain="agentmesh"),
        error_details_pb2.RequestInfo(request_id="r-1"),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(grpc.StatusCode.NOT_FOUND, status.message, details)


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[Backend]:
    """Serve a backend on a port until the block ends."""
    backend = Backend()  # type: ignore[abstract] # it serves what the gateway's tests call
    server = aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 20_000)])
    task_service_pb2_grpc.add_TaskServiceServicer_to_server(backend, server)
    dispatch_service_pb2_grpc.add_DispatchServiceServicer_to_server(backend, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield backend
    finally:
        backend.go_on.set()
        await server.stop(0)
