"""What the interceptors cost a server, beside the same service served bare by grpc.aio.

Run by `python -m bench.interceptors`. Each server has a process of its own, whose CPU
time is the steady figure: calls per second also tell of the caller beside it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2, task_pb2, task_service_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import (
    DispatchServiceServicer,
    DispatchServiceStub,
    add_DispatchServiceServicer_to_server,
)
from mesh.task.v1.task_service_pb2_grpc import (
    TaskServiceServicer,
    TaskServiceStub,
    add_TaskServiceServicer_to_server,
)
from meshkit.interceptors.chain import Context
from meshkit.server import Server
from meshkit.settings import GrpcSettings, LogSettings
from meshkit.telemetry.logs import configure_logs
from meshkit.testing.tokens import TokenFactory

ROUNDS: Final = 15
CALLS: Final = 1_280
MESSAGES: Final = 2_000
IN_FLIGHT: Final = 64

_TASK_ID: Final = "0192f0c1-7b9a-7e4e-8a2b-0123456789ab"
_TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
_GET: Final = task_service_pb2.GetTaskRequest(task_id=_TASK_ID)
_BEAT: Final = dispatch_service_pb2.DispatchRequest(heartbeat=dispatch_service_pb2.Heartbeat())

Load = Callable[["Target"], Awaitable[int]]
"""Calls a server; returns how many calls it made, or messages it sent."""


class Tasks(TaskServiceServicer):
    """Finds the same task each time."""

    async def GetTask(  # noqa: N802 - the contract's name
        self,
        request: task_service_pb2.GetTaskRequest,  # noqa: ARG002 - the contract's parameter
        context: Context,  # noqa: ARG002 - the contract's parameter
    ) -> task_pb2.Task:
        """Answer at once."""
        return task_pb2.Task()


class Dispatch(DispatchServiceServicer):
    """Answers each message."""

    async def Dispatch(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[dispatch_service_pb2.DispatchRequest],
        context: Context,  # noqa: ARG002 - the contract's parameter
    ) -> AsyncIterator[dispatch_service_pb2.DispatchResponse]:
        """Answer at once."""
        async for _ in request_iterator:
            yield dispatch_service_pb2.DispatchResponse()


SERVICERS: Final[list[tuple[Callable[[Any, Any], None], Callable[[], object]]]] = [
    (add_TaskServiceServicer_to_server, Tasks),
    (add_DispatchServiceServicer_to_server, Dispatch),
]


async def serve_bare(parent: Connection) -> None:
    """Serve by grpc.aio alone until the process is ended."""
    server = aio.server()
    for register, servicer in SERVICERS:
        register(servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await tell(parent, port, "none is asked for")


async def serve_guarded(parent: Connection, *, log_calls: bool = False) -> None:
    """Serve as every service does, its log in a file, until the process is ended."""
    tokens = TokenFactory()
    server = Server(GrpcSettings(port=0), verifier=tokens.verifier, log_calls=log_calls)
    for register, servicer in SERVICERS:
        server.add(register, servicer())
    with tempfile.TemporaryFile("w", encoding="utf-8") as log:
        configure_logs(LogSettings(), service="bench", stream=log)
        await server.start()
        await tell(parent, server.port, tokens.sign("task:*"))


async def serve_logged(parent: Connection) -> None:
    """Serve like the guarded one, with a log line for each call."""
    await serve_guarded(parent, log_calls=True)


async def tell(parent: Connection, port: int, token: str) -> None:
    """Tell how to call this server, and then, whenever asked, the CPU time it has used."""

    def answer() -> None:
        parent.recv()
        parent.send(time.process_time())

    parent.send((port, token))
    asyncio.get_running_loop().add_reader(parent.fileno(), answer)
    await asyncio.Event().wait()


SERVERS: Final[dict[str, Callable[[Connection], Coroutine[Any, Any, None]]]] = {
    "bare": serve_bare,
    "guarded": serve_guarded,
    "guarded, logged": serve_logged,
}


def run(name: str, parent: Connection) -> None:
    """Run a server in its process."""
    uvloop.run(SERVERS[name](parent))


@dataclass
class Target:
    """A server in a process of its own, and the way to it."""

    process: Connection
    port: int
    metadata: tuple[tuple[str, str], ...]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used."""
        self.process.send("how much?")
        seconds: float = self.process.recv()
        return seconds


@contextmanager
def started(name: str) -> Iterator[Target]:
    """Run a server in a process of its own."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=run, args=(name, theirs), daemon=True)
    process.start()
    try:
        port, token = ours.recv()
        metadata = (("authorization", f"Bearer {token}"), ("traceparent", _TRACEPARENT))
        yield Target(ours, port, metadata)
    finally:
        process.terminate()
        process.join()


async def unary_calls(target: Target) -> int:
    """Make unary calls, so many in flight."""
    async with aio.insecure_channel(f"127.0.0.1:{target.port}") as channel:
        stub = TaskServiceStub(channel)

        async def caller() -> None:
            for _ in range(CALLS // IN_FLIGHT):
                await stub.GetTask(_GET, metadata=target.metadata)

        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return CALLS // IN_FLIGHT * IN_FLIGHT


async def stream_messages(target: Target) -> int:
    """Send messages on one stream as fast as they are taken, each answered."""

    async def messages() -> AsyncIterator[dispatch_service_pb2.DispatchRequest]:
        for _ in range(MESSAGES):
            yield _BEAT

    async with aio.insecure_channel(f"127.0.0.1:{target.port}") as channel:
        call = DispatchServiceStub(channel).Dispatch(messages(), metadata=target.metadata)
        answered = [answer async for answer in call]
    assert len(answered) == MESSAGES
    return MESSAGES


async def measured(load: Load, target: Target) -> tuple[float, float]:
    """Return how many a second, and the microseconds of the server's CPU for each."""
    begun, cpu_before = time.perf_counter(), target.cpu_seconds()
    count = await load(target)
    seconds, cpu = time.perf_counter() - begun, target.cpu_seconds() - cpu_before
    return count / seconds, cpu / count * 1e6


async def compare(what: str, load: Load, targets: dict[str, Target]) -> None:
    """Print the medians of all servers, loaded in turn, and what each adds to the first."""
    for target in targets.values():
        await load(target)
    rounds = [
        {name: await measured(load, target) for name, target in targets.items()}
        for _ in range(ROUNDS)
    ]
    first = next(iter(targets))
    for name in targets:
        rate = statistics.median(each[name][0] for each in rounds)
        cpu = statistics.median(each[name][1] for each in rounds)
        added = statistics.median(each[name][1] - each[first][1] for each in rounds)
        ratio = statistics.median(each[name][1] / each[first][1] for each in rounds)
        print(
            f"{what:<15} {name:<16} {rate:6.0f} /s   server CPU {cpu:6.1f} µs"
            f"   added {added:6.1f} µs   ratio {ratio:5.2f}"
        )


def main() -> None:
    """Compare unary calls, then messages of a stream."""
    with ExitStack() as running:
        targets = {name: running.enter_context(started(name)) for name in SERVERS}
        uvloop.run(compare("unary call", unary_calls, targets))
        uvloop.run(compare("stream message", stream_messages, targets))


if __name__ == "__main__":
    main()
