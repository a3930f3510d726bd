"""What this machine takes for the least of each kind: a bare gRPC call, a bare commit.

`python -m bench.baseline` is the bare server: it prints its port and echoes bytes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from agentmesh.stack.postgres import EmbeddedPostgres

METHOD = "/bench.Echo/Echo"
PAYLOAD = b"x" * 100
CONNECTIONS = 8

Action = Callable[[], Awaitable[object]]


@asynccontextmanager
async def bare_call() -> AsyncIterator[Action]:
    """Give a unary call to a server of its own process that does nothing else."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.baseline"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    port = int(await process.stdout.readline())
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(METHOD)
            yield lambda: call(PAYLOAD)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def bare_commit(server: EmbeddedPostgres) -> AsyncIterator[Action]:
    """Give the insertion of one row, committed, on a connection that is open."""
    await server.create_database("bench")
    connections = [await server.connect("bench") for _ in range(CONNECTIONS)]
    idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
    try:
        await connections[0].execute("CREATE TABLE commits (payload bytea)")
        for connection in connections:
            idle.put_nowait(await connection.prepare("INSERT INTO commits VALUES ($1)"))

        async def insert() -> None:
            statement = await idle.get()
            await statement.fetch(PAYLOAD)
            idle.put_nowait(statement)

        yield insert
    finally:
        for connection in connections:
            await connection.close()
        await server.drop_database("bench")


async def serve() -> None:
    """Echo until ended."""

    async def echo(request: bytes, _: object) -> bytes:
        return request

    service, method = METHOD[1:].split("/")
    server = aio.server()
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
