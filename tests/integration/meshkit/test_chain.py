"""The interceptors around each of the four shapes of calls."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from meshkit.errors import FailedPrecondition, Unavailable
from meshkit.interceptors.deadline import remaining_seconds
from meshkit.statuses import DETAILS_KEY
from meshkit.telemetry.metrics import CALLS
from meshkit.testing.refusals import refusal
from tests.integration.meshkit.conftest import ServeEcho
from tests.integration.meshkit.echo import SERVICE, SHAPES, path, say
from tests.waiting import until

shapes = pytest.mark.parametrize("shape", SHAPES)


def answer_of(error: aio.AioRpcError) -> tuple[Status, dict[type[Any], Any]]:
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(bytes(trailers[DETAILS_KEY]))
    details = {}
    for kind in (ErrorInfo, RequestInfo, RetryInfo):
        for each in status.details:
            if each.Unpack(found := kind()):
                details[kind] = found
    return status, details


def counted(shape: str, code: StatusCode) -> int:
    return CALLS.of(path(shape)).ended[code.name]


@shapes
async def test_a_good_call_goes_through(serve_echo: ServeEcho, token: str, shape: str) -> None:
    served = await serve_echo()
    ok = counted(shape, StatusCode.OK)
    assert [each.text for each in await say(served.channel(), shape, "hello", token=token)] == [
        "hello"
    ]
    await until(lambda: counted(shape, StatusCode.OK) == ok + 1)
    assert CALLS.of(path(shape)).running == 0


@shapes
async def test_an_error_tells_what_the_caller_may_know(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(_text: str) -> None:
        raise FailedPrecondition("Not now.", reason="NOT_NOW", retry_after=1.5)

    served = await serve_echo(act)
    failed = counted(shape, StatusCode.FAILED_PRECONDITION)
    with pytest.raises(aio.AioRpcError, match=r"Not now\.") as refused:
        await say(served.channel(), shape, "x", metadata=(("x-request-id", "r-1"),), token=token)

    assert refused.value.code() is StatusCode.FAILED_PRECONDITION
    status, details = answer_of(refused.value)
    assert (status.code, status.message) == (9, "Not now.")
    assert details[ErrorInfo] == ErrorInfo(reason="NOT_NOW", domain="agentmesh")
    assert details[RetryInfo].retry_delay.ToTimedelta() == timedelta(seconds=1.5)
    assert details[RequestInfo].request_id == "r-1"
    await until(lambda: counted(shape, StatusCode.FAILED_PRECONDITION) == failed + 1)


@shapes
@pytest.mark.parametrize(
    "cause",
    [
        ValueError("hunter two"),
        TimeoutError("hunter two"),
        ExceptionGroup("hunter two", [Unavailable("hunter two")]),
        aio.AioRpcError(StatusCode.UNKNOWN, aio.Metadata(), aio.Metadata(), "hunter two"),
    ],
    ids=lambda cause: type(cause).__name__,
)
async def test_an_unexpected_error_tells_nothing_but_the_request_id(
    serve_echo: ServeEcho, token: str, shape: str, cause: Exception
) -> None:
    async def act(_text: str) -> None:
        raise cause

    served = await serve_echo(act)
    with pytest.raises(aio.AioRpcError) as refused:
        await say(
            served.channel(), shape, "x", metadata=(("x-request-id", "bad id!"),), token=token
        )

    assert refused.value.code() is StatusCode.INTERNAL
    status, details = answer_of(refused.value)
    assert details[ErrorInfo].reason == "INTERNAL"
    everything = f"{refused.value.details()}{status}{refused.value.trailing_metadata()}"
    assert not any(each in everything for each in ("hunter", "two", "Traceback", "bad id"))
    if not isinstance(cause, aio.AioRpcError):
        assert details[RequestInfo].request_id in (refused.value.details() or "")


@shapes
async def test_a_peer_out_of_reach_is_not_described(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(_text: str) -> None:
        words = "failed to connect to ipv4:10.1.2.3:50051"
        raise aio.AioRpcError(StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata(), words)

    served = await serve_echo(act)
    with refusal(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"):
        await say(served.channel(), shape, "x", token=token)
    with pytest.raises(aio.AioRpcError, match="can't be reached now"):
        await say(served.channel(), shape, "x", token=token)


@shapes
async def test_a_handler_that_cancels_itself_does_not_leave_its_caller_waiting(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(_text: str) -> None:
        raise asyncio.CancelledError

    served = await serve_echo(act)
    with pytest.raises(aio.AioRpcError) as failed:
        await say(served.channel(), shape, "x", timeout=10, token=token)
    assert failed.value.code() is not StatusCode.DEADLINE_EXCEEDED


@shapes
async def test_a_hopeless_call_is_refused_before_any_work(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(text: str) -> None:
        heard.append(text)

    heard: list[str] = []
    served = await serve_echo(act, minimum_deadline=60)
    with refusal(StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT"):
        await say(served.channel(), shape, "x", timeout=30, token=token)
    assert not heard


@shapes
async def test_only_unary_calls_have_a_default_deadline(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(_text: str) -> None:
        seen.append(remaining_seconds())

    seen: list[float | None] = []
    served = await serve_echo(act, default_deadline=30)
    await say(served.channel(), shape, "x", token=token)
    await say(served.channel(), shape, "x", timeout=20, token=token)
    assert (seen[0] is None) == (shape != "unary_unary")
    assert seen[0] is None or 20 < seen[0] <= 30
    assert seen[1] is not None
    assert 0 < seen[1] <= 20.1


async def test_a_call_that_outlives_its_time_is_ended(serve_echo: ServeEcho, token: str) -> None:
    async def act(_text: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    ended: list[bool] = []
    served = await serve_echo(act, default_deadline=0.05)
    with refusal(StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
        await say(served.channel(), "unary_unary", "x", token=token)
    assert ended


@shapes
async def test_a_caller_that_goes_away_ends_its_handler(
    serve_echo: ServeEcho, token: str, shape: str
) -> None:
    async def act(_text: str) -> None:
        events.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    events: list[str] = []
    served = await serve_echo(act)
    cancelled = counted(shape, StatusCode.CANCELLED)
    calling = asyncio.create_task(say(served.channel(), shape, "x", token=token))
    await until(lambda: events == ["began"])
    calling.cancel()
    await until(lambda: events == ["began", "ended"])
    await until(lambda: counted(shape, StatusCode.CANCELLED) == cancelled + 1)
    assert CALLS.of(path(shape)).running == 0


async def test_a_method_that_there_is_not_is_unimplemented(
    serve_echo: ServeEcho, token: str
) -> None:
    served = await serve_echo()
    other: Any = served.channel(token).unary_unary(f"/{SERVICE}/Other")
    with pytest.raises(aio.AioRpcError) as refused:
        await other(b"")
    assert refused.value.code() is StatusCode.UNIMPLEMENTED
