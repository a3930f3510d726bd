"""The interceptors around each of the four shapes of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from meshkit.errors import FailedPrecondition, Unavailable
from meshkit.interceptors.deadline import remaining_seconds
from meshkit.security.principal import current_or_none
from meshkit.server import Server
from meshkit.settings import GrpcSettings
from meshkit.statuses import DETAILS_KEY
from meshkit.telemetry.logs import add_call
from meshkit.telemetry.metrics import CALLS
from meshkit.telemetry.traces import current_trace
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import ServeEcho
from tests.integration.meshkit.echo import SERVICE, SHAPES, Echo, add_echo, path, say
from tests.waiting import until

shapes = pytest.mark.parametrize("shape", SHAPES)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    """Capture log lines with what is bound to the call."""
    capture, before = LogCapture(), structlog.get_config()["processors"]
    structlog.configure(processors=[add_call, capture])
    yield capture
    structlog.configure(processors=before)


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
async def test_logs_carry_the_ids_of_the_call_and_nothing_leaks_into_the_next(
    serve_echo: ServeEcho,
    token: str,
    shape: str,
    logged: LogCapture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(text: str) -> None:
        trace = current_trace()
        assert trace
        structlog.get_logger().info("acting", text=text, traced=trace.trace_id)

    monkeypatch.setattr("meshkit.interceptors.observe.SLOW_SECONDS", 0)
    served = await serve_echo(act)
    channel = served.channel()
    sent = (("x-request-id", "r-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
    await say(channel, shape, "one", token=token, metadata=sent)
    await say(channel, shape, "two", token=token)
    await say(served.channel(), "public", "three")
    await until(lambda: sum(each["event"] == "call" for each in logged.entries) == 3)

    acting = {each["text"]: each for each in logged.entries if each["event"] == "acting"}
    calls = [each for each in logged.entries if each["event"] == "call"]
    one, two, three = (acting[text] for text in ("one", "two", "three"))
    assert (one["request_id"], one["trace_id"], one["traced"]) == ("r-1", TRACE, TRACE)
    assert (two["tenant"], two["subject"]) == ("acme", "key:1")
    assert "tenant" not in three
    assert len({each["request_id"] for each in acting.values()}) == 3
    assert len({each["trace_id"] for each in acting.values()}) == 3
    assert [each["request_id"] for each in calls] == [
        each["request_id"] for each in (one, two, three)
    ]
    assert calls[0]["subject"] == "key:1"
    assert "subject" not in calls[2]
    assert (current_trace(), current_or_none(), remaining_seconds()) == (None, None, None)


@shapes
async def test_calls_that_go_well_are_logged_only_if_asked_for(
    tokens: TokenFactory, token: str, shape: str, logged: LogCapture
) -> None:
    async def act(text: str) -> None:
        if text == "bad":
            raise FailedPrecondition("Not now.", reason="NOT_NOW")
        if text == "worse":
            raise ValueError

    for log_calls, expected in (
        (False, ["FAILED_PRECONDITION", "INTERNAL"]),
        (True, ["OK", "FAILED_PRECONDITION", "INTERNAL"]),
    ):
        logged.entries.clear()
        settings = GrpcSettings(port=0, drain_delay=0, grace=0.1)
        server = Server(settings, verifier=tokens.verifier, log_calls=log_calls)
        await server.add(add_echo, Echo(act)).start()
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            await say(channel, shape, "good", token=token)
            for text in ("bad", "worse"):
                with pytest.raises(aio.AioRpcError):
                    await say(channel, shape, text, token=token)
        await server.drain()
        calls = [each for each in logged.entries if each["event"] == "call"]
        assert [each["code"] for each in calls] == expected
        assert [each["log_level"] for each in calls][-2:] == ["info", "warning"]


async def test_figures_are_told_to_prometheus(serve_echo: ServeEcho, token: str) -> None:
    served = await serve_echo()
    method = path("unary_unary")
    before = REGISTRY.get_sample_value("agentmesh_rpc_seconds_count", {"method": method}) or 0
    await say(served.channel(), "unary_unary", "x", token=token)

    def told(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"agentmesh_rpc_{name}", {"method": method, **labels})

    await until(lambda: told("seconds_count") == before + 1)
    assert told("calls_total", code="OK") == counted("unary_unary", StatusCode.OK)
    assert told("seconds_bucket", le="+Inf") == before + 1
    assert (told("seconds_bucket", le="30.0") or 0) > 0
    assert (told("seconds_sum") or 0) > 0
    assert told("running") == 0


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
