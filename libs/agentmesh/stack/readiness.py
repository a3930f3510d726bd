"""Whether a process is ready to serve, asked of the process itself."""

import asyncio
import http.client
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 2.0
CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


async def grpc_is_ready(host: str, port: int) -> bool:
    """Ask a service for its standard gRPC health."""
    if not await _accepts(host, port):
        return False
    async with grpc.aio.insecure_channel(f"{host}:{port}", options=CHANNEL_OPTIONS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def http_is_ready(host: str, port: int, path: str = "/healthz") -> bool:
    """Ask a server for the page by which it says that it is healthy."""
    if not await _accepts(host, port):
        return False
    return await asyncio.to_thread(_answers_200, host, port, path)


async def _accepts(host: str, port: int) -> bool:
    # Cheap, so that it can be asked often while a process starts.
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _answers_200(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
