"""What is logged and counted of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from grpc import StatusCode, aio
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from meshkit.errors import FailedPrecondition
from meshkit.interceptors.deadline import remaining_seconds
from meshkit.security.principal import current_or_none
from meshkit.server import Server
from meshkit.settings import GrpcSettings
from meshkit.telemetry.logs import add_call
from meshkit.telemetry.metrics import CALLS
from meshkit.telemetry.traces import current_trace
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.conftest import ServeEcho
from tests.integration.meshkit.echo import SHAPES, Echo, add_echo, path, say
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
    assert told("calls_total", code="OK") == CALLS.of(method).ended[StatusCode.OK.name]
    assert told("seconds_bucket", le="+Inf") == before + 1
    assert (told("seconds_bucket", le="30.0") or 0) > 0
    assert (told("seconds_sum") or 0) > 0
    assert told("running") == 0
