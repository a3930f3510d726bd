"""Callers are held to their rate limits before anything else is done for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from meshkit.client import Channels
from meshkit.limits import gcra
from meshkit.limits.limiter import Grant, Limiter
from meshkit.limits.rate import RateLimit
from meshkit.limits.remote import AuthSource
from meshkit.security.principal import Principal
from meshkit.settings import PeerSettings
from meshkit.statuses import DETAILS_KEY
from meshkit.testing.refusals import reason_of, refusal
from meshkit.testing.serving import Served, serving
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import nothing
from tests.integration.meshkit.echo import SHAPES, Echo, add_echo, say
from tests.manual_clock import ManualClock

SLOW = RateLimit(5, 5)
LIMITED = (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")

shapes = pytest.mark.parametrize("shape", SHAPES)


class OneBucket:
    """A source with one bucket for everybody, and a note of who asked."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._tat = gcra.NEVER
        self.asked: list[tuple[str, str]] = []

    async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
        self.asked.append((tenant, subject))
        taken = gcra.take(self._tat, self._clock.monotonic(), limit, calls)
        self._tat = taken.tat
        return Grant(taken.calls, taken.retry_after)


@dataclass
class LimitsAll:
    """Gives every caller but services the same limit."""

    tokens: TokenFactory

    async def verify(self, credential: str) -> Principal:
        principal = await self.tokens.verifier.verify(credential)
        limited = not principal.subject.startswith("service:")
        return replace(principal, rate_limit=SLOW if limited else None)


@pytest.fixture
def bucket() -> OneBucket:
    return OneBucket(ManualClock())


def sent_by_refused(shape: str, message: str | bytes) -> list[str | bytes]:
    """Return what a call sends that is going to be refused.

    grpc's client fails by itself if it is about to write to a stream that has ended.
    """
    return [] if shape.startswith("stream") else [message]


ServeLimited = Callable[[Limiter], Awaitable[Served]]


@pytest.fixture
async def serve_limited(tokens: TokenFactory) -> AsyncIterator[ServeLimited]:
    async with AsyncExitStack() as cleanup:

        async def serve(limiter: Limiter) -> Served:
            service = serving(add_echo, Echo(nothing), LimitsAll(tokens), limiter=limiter)
            return await cleanup.enter_async_context(service)

        yield serve


@pytest.fixture
async def served(serve_limited: ServeLimited, bucket: OneBucket) -> Served:
    return await serve_limited(Limiter(bucket, clock=ManualClock()))


@shapes
async def test_the_sixth_call_at_once_of_five_is_told_when_to_come_again(
    served: Served, token: str, shape: str
) -> None:
    channel = served.channel()
    for _ in range(5):
        # A stream counts once, however many messages it has.
        await say(channel, shape, "x", token=token)
    with pytest.raises(aio.AioRpcError) as refused:
        await say(channel, shape, *sent_by_refused(shape, "x"), token=token)
    assert (refused.value.code(), reason_of(refused.value)) == LIMITED
    trailing = dict(refused.value.trailing_metadata() or ())
    status = Status.FromString(trailing[DETAILS_KEY])
    retry = RetryInfo()
    assert any(each.Unpack(retry) for each in status.details)
    assert 0 < retry.retry_delay.ToMicroseconds() <= 200_000
    assert trailing["retry-after"] == "1"


@shapes
async def test_who_has_none_left_learns_nothing_else(
    served: Served, tokens: TokenFactory, shape: str
) -> None:
    lacking = tokens.sign("echo:listen")
    for _ in range(5):
        with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            await say(served.channel(), shape, *sent_by_refused(shape, "x"), token=lacking)
    malformed = sent_by_refused(shape, b"\xff not a message")
    with refusal(*LIMITED):
        await say(served.channel(), shape, *malformed, token=lacking)


async def test_what_needs_no_credential_is_not_counted(served: Served, token: str) -> None:
    for _ in range(6):
        await say(served.channel(), "public", "x", token=token)
    await say(served.channel(), "unary_unary", "x", token=token)


async def test_calls_of_services_for_callers_are_not_counted_again(
    served: Served, tokens: TokenFactory, bucket: OneBucket
) -> None:
    service = tokens.sign("echo:say", "mesh:delegate", tenant="mesh", subject="service:task")
    caller = (("x-agentmesh-subject", "key:9"), ("x-agentmesh-tenant", "acme"))
    for _ in range(7):
        await say(served.channel(), "unary_unary", "x", metadata=caller, token=service)
    # Not even where the service has a limit of its own.
    other = tokens.sign("echo:say", "mesh:delegate", tenant="mesh", subject="key:of a service")
    for _ in range(7):
        await say(served.channel(), "unary_unary", "x", metadata=caller, token=other)
    assert bucket.asked == []


async def test_who_asks_for_whom_is_told(served: Served, token: str, bucket: OneBucket) -> None:
    await say(served.channel(), "unary_unary", "x", token=token)
    assert bucket.asked == [("acme", "key:1")]


async def test_without_auth_calls_are_let_in_up_to_the_limit_of_the_process(
    serve_limited: ServeLimited, token: str
) -> None:
    channels = Channels(PeerSettings(auth="127.0.0.1:1"))
    limiter = Limiter(AuthSource(channels.to("auth")), clock=ManualClock())
    served = await serve_limited(limiter)
    for _ in range(5):
        await say(served.channel(), "unary_unary", "x", token=token)
    with refusal(*LIMITED):
        await say(served.channel(), "unary_unary", "x", token=token)
    await channels.close()
