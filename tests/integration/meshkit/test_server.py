"""The server's life: health, readiness, drain, and what runs beside it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.client import Channels
from meshkit.errors import Unavailable
from meshkit.security.rules import UnguardedMethod
from meshkit.server import LIVE, AddressInUse, Server
from meshkit.settings import GrpcSettings, PeerSettings
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import nothing
from tests.integration.meshkit.echo import SERVICE, Act, Echo, add_echo, say
from tests.waiting import until, until_true

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
MakeServer = Callable[..., Server]


@pytest.fixture
def make(tokens: TokenFactory) -> MakeServer:
    """Build servers of the echo."""

    def build(act: Act = nothing, *, readiness: Any = (), **settings: Any) -> Server:
        chosen = GrpcSettings(**{"port": 0, "drain_delay": 0, "grace": 5} | settings)
        server = Server(chosen, verifier=tokens.verifier, readiness=readiness)
        return server.add(add_echo, Echo(act))

    return build


async def health_of(port: int, service: str) -> Any:
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def started(server: Server) -> None:
    await until(lambda: server.port != 0)
    await until_true(lambda: _is_serving(server))


async def _is_serving(server: Server) -> bool:
    return bool(await health_of(server.port, "") == SERVING)


async def test_health_is_told_for_each_service(make: MakeServer) -> None:
    server = make()
    await server.start()
    for service in ("", SERVICE, LIVE):
        assert await health_of(server.port, service) == SERVING
    with pytest.raises(aio.AioRpcError) as unknown:
        await health_of(server.port, "other")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    await server.drain()


async def test_a_server_is_live_but_not_serving_until_ready(
    make: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.server._CHECK_INTERVAL", 0.01)

    async def check() -> None:
        if not ready:
            raise Unavailable("no database")

    ready: list[bool] = []
    server = make(readiness=[check])
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.port != 0)
    await until_true(lambda: _is(server, LIVE, SERVING))
    for service in ("", SERVICE):
        assert await health_of(server.port, service) == NOT_SERVING

    ready.append(True)
    await until_true(lambda: _is(server, SERVICE, SERVING))
    ready.clear()
    await until_true(lambda: _is(server, SERVICE, NOT_SERVING))
    assert await health_of(server.port, LIVE) == SERVING
    server.stop()
    await serving


async def _is(server: Server, service: str, status: Any) -> bool:
    return bool(await health_of(server.port, service) == status)


async def test_a_drain_turns_callers_away_and_lets_running_calls_end(
    make: MakeServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.server._CHECK_INTERVAL", 0.001)

    async def act(text: str) -> None:
        if text == "x":
            running.set()
            await may_end.wait()

    async def on_drain() -> None:
        # Several readiness checks pass meanwhile; none of them may call the callers back.
        checked.clear()
        await until(lambda: len(checked) > 3)
        seen.append([await health_of(server.port, each) for each in ("", SERVICE)])
        seen.append(await say(aio_channel, "public", "heard"))
        may_end.set()

    async def fails() -> None:
        raise ValueError("an action's own fault")

    async def check() -> None:
        checked.append(True)

    running, may_end = asyncio.Event(), asyncio.Event()
    seen: list[Any] = []
    checked: list[bool] = []
    server = make(act, readiness=[check]).on_drain(fails).on_drain(on_drain)
    serving = asyncio.create_task(server.serve())
    await started(server)
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as aio_channel:
        calling = asyncio.create_task(say(aio_channel, "unary_unary", "x", token=token))
        await running.wait()
        server.stop()
        assert [each.text for each in await calling] == ["x"]
        await serving
        assert seen[0] == [NOT_SERVING, NOT_SERVING]
        assert seen[1][0].text == "heard"
        with pytest.raises(aio.AioRpcError) as refused:
            await say(aio_channel, "unary_unary", "x", token=token)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_does_not_end_is_ended_after_the_grace(
    make: MakeServer, token: str
) -> None:
    async def act(_text: str) -> None:
        running.set()
        await asyncio.Event().wait()

    running = asyncio.Event()
    server = make(act, grace=0.05)
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        calling = asyncio.create_task(say(channel, "stream_stream", "x", token=token))
        await running.wait()
        await server.drain()
        with pytest.raises(aio.AioRpcError):
            await calling


async def test_many_calls_on_one_connection_are_all_served(make: MakeServer, token: str) -> None:
    async def caller() -> None:
        for _ in range(5):
            await say(channel, "unary_unary", "x", token=token)

    server = make()
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await asyncio.gather(*(caller() for _ in range(200)))
    await server.drain()


async def test_an_address_in_use_is_named_and_nothing_is_left_running(make: MakeServer) -> None:
    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    ended: list[bool] = []
    first = make()
    await first.start()
    tasks = asyncio.all_tasks()
    with pytest.raises(AddressInUse, match=rf"127\.0\.0\.1:{first.port}.*another process"):
        await make(port=first.port).serve(beside=[forever()])
    assert asyncio.all_tasks() <= tasks
    assert await health_of(first.port, "") == SERVING
    await first.drain()


async def test_what_fails_beside_the_server_ends_it(make: MakeServer) -> None:
    async def fails() -> None:
        await started(server)
        raise ValueError("lost")

    async def forever() -> None:
        await asyncio.Event().wait()

    server = make()
    with pytest.raises(ValueError, match="lost"):
        await server.serve(beside=[forever(), fails()])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_a_second_one_hurries(
    make: MakeServer, token: str, number: signal.Signals
) -> None:
    async def act(_text: str) -> None:
        running.set()
        await asyncio.Event().wait()

    async def on_drain() -> None:
        draining.set()

    running, draining = asyncio.Event(), asyncio.Event()
    server = make(act, grace=600).on_drain(on_drain)
    serving = asyncio.create_task(server.serve())
    await started(server)
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        calling = asyncio.create_task(say(channel, "unary_stream", "x", token=token))
        await running.wait()
        os.kill(os.getpid(), number)
        await draining.wait()
        os.kill(os.getpid(), number)
        with pytest.raises(aio.AioRpcError):
            await calling
        await serving


def test_a_method_without_a_rule_keeps_a_server_from_being_built(make: MakeServer) -> None:
    file = text_format.Parse(
        """name: "tests/open.proto" package: "tests.open" syntax: "proto3"
        message_type { name: "M" }
        service { name: "Open" method { name: "Do" input_type: "M" output_type: "M" } }""",
        FileDescriptorProto(),
    )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())

    def register(_servicer: object, server: Any) -> None:
        handlers: Any = {"Do": grpc.unary_unary_rpc_method_handler(lambda _request, _context: None)}
        handler = grpc.method_handlers_generic_handler("tests.open.Open", handlers)
        server.add_generic_rpc_handlers((handler,))

    asyncio.run(_refuses(make, register))


async def _refuses(make: MakeServer, register: Callable[[Any, Any], None]) -> None:
    with pytest.raises(UnguardedMethod, match=r"tests\.open\.Open\.Do"):
        make().add(register, object())


async def are_both_serving(served: Counter[int]) -> None:
    served.clear()
    await until(lambda: len(served) == 2 and min(served.values()) > 10)


async def test_a_rolling_restart_fails_no_call(make: MakeServer, tokens: TokenFactory) -> None:
    async def token() -> str:
        return tokens.sign("echo:say")

    async def start(port: int = 0) -> Server:
        async def act(_text: str) -> None:
            served[server.port] += 1

        server = make(act, port=port, drain_delay=0.5)
        await server.start()
        return server

    async def call() -> None:
        while not done.is_set():
            await say(channel, "unary_unary", "x", timeout=5)

    served: Counter[int] = Counter()
    done = asyncio.Event()
    servers = [await start(), await start()]
    target = "ipv4:" + ",".join(f"127.0.0.1:{each.port}" for each in servers)
    channels = Channels(PeerSettings(registry=target), token)
    channel = channels.to("registry")
    callers = [asyncio.create_task(call()) for _ in range(3)]
    for replaced in (0, 1, 0):
        await are_both_serving(served)
        await servers[replaced].drain()
        servers[replaced] = await start(servers[replaced].port)
    await are_both_serving(served)
    done.set()
    await asyncio.gather(*callers)
    await channels.close()
    for server in servers:
        await server.drain()
