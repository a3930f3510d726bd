"""Rate limits, as callers over HTTP meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from grpc import aio

from mesh.auth.v1 import rate_limit_pb2, rate_limit_service_pb2_grpc
from mesh.auth.v1 import rate_limit_service_pb2 as contract
from mesh.task.v1 import task_service_pb2_grpc
from meshkit.limits import gcra
from meshkit.limits.limiter import Grant, Limiter
from meshkit.limits.rate import RateLimit
from meshkit.security.principal import Principal
from meshkit.settings import GrpcSettings
from meshkit.testing.serving import serving
from meshkit.testing.tokens import TokenFactory
from tests.integration.gateway.answers import TYPE
from tests.integration.gateway.backend import Backend
from tests.integration.gateway.conftest import Ports, client, free_port, running_gateway
from tests.manual_clock import ManualClock

LIMIT = RateLimit(0.4, 5)


@dataclass
class LimitsAll:
    """Gives every caller the same limit."""

    tokens: TokenFactory

    async def verify(self, credential: str) -> Principal:
        return replace(await self.tokens.verifier.verify(credential), rate_limit=LIMIT)


@dataclass
class OneBucket:
    """A source with one bucket for everybody."""

    tat: float = gcra.NEVER
    clock: ManualClock = field(default_factory=ManualClock)

    async def acquire(self, _tenant: str, _subject: str, limit: RateLimit, calls: int) -> Grant:
        taken = gcra.take(self.tat, self.clock.monotonic(), limit, calls)
        self.tat = taken.tat
        return Grant(taken.calls, taken.retry_after)


@pytest.fixture
async def limited(ports: Ports, tokens: TokenFactory) -> AsyncIterator[dict[str, str]]:
    """Serve tasks with a limiter; give the headers of a caller."""
    backend = Backend()  # type: ignore[abstract] # it serves what the test calls
    settings = GrpcSettings(port=ports.task, drain_delay=0, grace=0.1)
    async with serving(
        task_service_pb2_grpc.add_TaskServiceServicer_to_server,
        backend,
        LimitsAll(tokens),
        settings=settings,
        limiter=Limiter(OneBucket(), clock=ManualClock()),
    ):
        yield {"authorization": f"Bearer {tokens.sign('task:*')}"}


async def test_the_sixth_call_is_told_when_to_come_again(
    http: httpx.AsyncClient, limited: dict[str, str]
) -> None:
    for _ in range(5):
        assert (await http.get("/api/v1/tasks", headers=limited)).status_code == 200
    # A stream is refused like any other call.
    for path in ("/api/v1/tasks", "/api/v1/tasks/t-1:watch"):
        response = await http.get(
            path, headers={**limited, "origin": "https://console.example.com"}
        )
        assert response.status_code == 429
        # 2.5 seconds, in whole ones.
        assert response.headers["retry-after"] == "3"
        assert "retry-after" in response.headers["access-control-expose-headers"]
        body = response.json()
        assert body["code"] == 8
        details = {each.pop("@type").removeprefix(TYPE): each for each in body["details"]}
        assert details["ErrorInfo"]["reason"] == "RATE_LIMITED"
        assert details["RetryInfo"] == {"retryDelay": "2.500s"}


@dataclass
class Overrides(rate_limit_service_pb2_grpc.RateLimitServiceServicer):
    """Notes whose limit was put or deleted."""

    seen: list[str] = field(default_factory=list)

    async def PutRateLimitOverride(  # noqa: N802 - the name is the proto's
        self, request: contract.PutRateLimitOverrideRequest, _context: Any
    ) -> rate_limit_pb2.RateLimitOverride:
        self.seen.append(request.rate_limit_override.subject)
        return request.rate_limit_override

    async def DeleteRateLimitOverride(  # noqa: N802 - the name is the proto's
        self, request: contract.DeleteRateLimitOverrideRequest, _context: Any
    ) -> contract.DeleteRateLimitOverrideResponse:
        self.seen.append(request.subject)
        return contract.DeleteRateLimitOverrideResponse()


async def test_a_subject_stands_in_a_path_with_its_colon_escaped(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    port, overrides = free_port(), Overrides()  # type: ignore[abstract] # it serves what is called
    server = aio.server()
    rate_limit_service_pb2_grpc.add_RateLimitServiceServicer_to_server(overrides, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    directory = tmp_path_factory.mktemp("gateway")
    with running_gateway(directory, PEERS__AUTH=f"127.0.0.1:{port}") as gateway:
        async with client(gateway) as http:
            path = "/api/v1/rateLimits/key%3A1"
            put = await http.put(path, json={"rate_limit": {"per_second": 5}})
            assert (put.status_code, put.json()["subject"]) == (200, "key:1")
            assert (await http.delete(path)).status_code == 200
    await server.stop(0)
    assert overrides.seen == ["key:1", "key:1"]
