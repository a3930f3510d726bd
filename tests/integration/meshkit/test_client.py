"""Calls from one service to another: for whom, in which trace, for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio

from meshkit.client import Channels
from meshkit.errors import Unavailable
from meshkit.interceptors.deadline import remaining_seconds
from meshkit.security.principal import Principal, acting_for, current_principal
from meshkit.settings import PeerSettings
from meshkit.telemetry.traces import current_trace
from meshkit.testing.serving import Served
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import ServeEcho
from tests.integration.meshkit.echo import say

TRACE = "0af7651916cd43dd8448eb211c80319c"
unary_requests = pytest.mark.parametrize("shape", ["unary_unary", "unary_stream"])


class Back:
    """A service that another one calls; remembers what it saw of each call."""

    def __init__(self) -> None:
        self.callers: list[tuple[str, str, str | None]] = []
        self.actors: list[tuple[str, ...]] = []
        self.traces: list[str] = []
        self.remaining: list[float] = []

    async def act(self, _text: str) -> None:
        caller, trace = current_principal(), current_trace()
        assert trace
        self.callers.append((caller.subject, caller.tenant, caller.actor))
        self.actors.append(caller.actors)
        self.traces.append(trace.trace_id)
        self.remaining.append(remaining_seconds() or 0)


@pytest.fixture
def back() -> Back:
    return Back()


@pytest.fixture
async def channels(
    back: Back, serve_echo: ServeEcho, tokens: TokenFactory
) -> AsyncIterator[Channels]:
    """Open the channels of a service that may act for others."""

    async def token() -> str:
        return tokens.sign("echo:say", "mesh:delegate", tenant="mesh", subject="service:front")

    served = await serve_echo(back.act)
    channels = Channels(PeerSettings(registry=served.address, timeout=7), token)
    yield channels
    await channels.close()


async def front(serve_echo: ServeEcho, channels: Channels, shape: str, **options: Any) -> Served:
    async def act(_text: str) -> None:
        await say(channels.to("registry"), shape, "x", **options)

    return await serve_echo(act, default_deadline=30)


@unary_requests
async def test_a_call_made_for_a_caller_says_so_and_stays_in_its_trace_and_time(
    serve_echo: ServeEcho, channels: Channels, back: Back, token: str, shape: str
) -> None:
    served = await front(serve_echo, channels, shape, timeout=50 if shape == "unary_unary" else 20)
    sent = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)
    await say(served.channel(), "unary_unary", "x", token=token, metadata=sent)

    assert back.callers == [("key:1", "acme", "service:front")]
    assert back.traces == [TRACE]
    assert 0 < back.remaining[0] < 30


@unary_requests
async def test_a_call_made_on_its_own_is_the_services(
    channels: Channels, back: Back, shape: str
) -> None:
    await say(channels.to("registry"), shape, "x", timeout=9 if shape == "unary_stream" else None)
    assert back.callers == [("service:front", "mesh", None)]
    assert 0 < back.remaining[0] <= (7 if shape == "unary_unary" else 9)
    assert channels.to("registry") is channels.to("registry")


async def test_who_acts_for_a_caller_is_named_from_service_to_service(
    channels: Channels, back: Back
) -> None:
    person = Principal("user:1", "acme", (), actors=("key:agent", "key:other"))
    with acting_for(person):
        await say(channels.to("registry"), "unary_unary", "x")
    assert back.actors == [("service:front", "key:agent", "key:other")]


async def test_a_call_without_time_left_is_not_made(
    serve_echo: ServeEcho, channels: Channels, back: Back, token: str
) -> None:
    async def act(_text: str) -> None:
        with pytest.raises(aio.AioRpcError) as refused:
            await say(channels.to("registry"), "unary_unary", "x")
        codes.append(refused.value.code())

    codes: list[StatusCode] = []
    served = await serve_echo(act, default_deadline=0.015)
    try:
        await say(served.channel(), "unary_unary", "x", token=token)
    except aio.AioRpcError as late:
        assert late.code() is StatusCode.DEADLINE_EXCEEDED  # noqa: PT017 - it may or may not be
    assert set(codes) <= {StatusCode.DEADLINE_EXCEEDED}
    assert not back.callers


@unary_requests
async def test_a_call_without_a_token_to_be_had_fails_with_the_cause(
    serve_echo: ServeEcho, shape: str
) -> None:
    async def token() -> str:
        raise Unavailable("no token")

    served = await serve_echo()
    channels = Channels(PeerSettings(registry=served.address), token)
    with pytest.raises(Unavailable, match="no token"):
        await asyncio.wait_for(say(channels.to("registry"), shape, "x"), 30)
    await channels.close()


async def test_channels_without_a_token_source_say_nothing_of_the_caller(
    serve_echo: ServeEcho, token: str
) -> None:
    async def act(_text: str) -> None:
        await say(channels.to("registry"), "public", "x")
        with pytest.raises(aio.AioRpcError) as refused:
            await say(channels.to("registry"), "unary_unary", "x")
        codes.append(refused.value.code())

    codes: list[StatusCode] = []
    behind = await serve_echo()
    channels = Channels(PeerSettings(registry=behind.address))
    served = await serve_echo(act)
    await say(served.channel(), "unary_unary", "x", token=token)
    assert codes == [StatusCode.UNAUTHENTICATED]
    await channels.close()
