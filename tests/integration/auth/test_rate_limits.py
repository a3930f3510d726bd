"""Rate limits on the database that all replicas share."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.auth.v1 import guard_service_pb2, rate_limit_pb2
from mesh.auth.v1.guard_service_pb2_grpc import GuardServiceStub
from meshkit.database.engine import Database
from meshkit.errors import ResourceExhausted, Unavailable
from meshkit.limits import gcra
from meshkit.limits.limiter import Grant, Limiter
from meshkit.limits.rate import RateLimit
from meshkit.limits.remote import AuthSource
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Served
from services.auth.store import limits as store
from services.auth.usecases.limits import RateLimits
from tests.integration.auth.replicas import Replica

SLOW = RateLimit(5, 5)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

limits = st.builds(RateLimit, st.floats(1e-6, 1e6), st.integers(1, 1_000_000))
steps = st.lists(
    st.tuples(limits, st.integers(-1_000_000, 5_000_000), st.integers(1, 1_000_000)),
    min_size=1,
    max_size=6,
)  # the limit, microseconds since the last step, calls wanted


class NothingKept(Exception):
    """Ends a transaction without a trace."""


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
async def test_the_database_gives_what_the_algorithm_gives(
    database: Database, steps: list[tuple[RateLimit, int, int]]
) -> None:
    async def work(connection: AsyncConnection) -> None:
        now = BEGIN
        for limit, gap, calls in steps:
            now += gap * MICROSECOND
            kept = (await connection.execute(text("SELECT tat FROM rate_limits"))).scalar()
            tat = gcra.NEVER if kept is None else (kept - now) / MICROSECOND / 1e6
            expected = gcra.take(tat, 0.0, limit, calls)
            grant = await store.take_calls(connection, "acme", "key:1", limit, calls, now=now)
            assert grant.calls == expected.calls
            assert grant.retry_after == pytest.approx(expected.retry_after, abs=3e-6)
            became = (await connection.execute(text("SELECT tat FROM rate_limits"))).scalar_one()
            ahead = (became - now) / MICROSECOND / 1e6
            # Rounded up to the microsecond, the bucket's size and what is taken.
            assert -1e-7 <= ahead - expected.tat <= 2.1e-6 + expected.tat * 1e-12
        raise NothingKept

    with pytest.raises(NothingKept):
        await database.transaction(work)


async def taken(limiter: Limiter, limit: RateLimit, callers: int, until: float) -> int:
    """Call as often as many callers at once can until a time; return how often that went well."""
    count = 0

    async def caller() -> None:
        nonlocal count
        while time.monotonic() < until:
            try:
                await limiter.take("acme", "key:1", limit)
            except ResourceExhausted as error:
                await asyncio.sleep(min(error.retry_after or 0, 0.05))
            else:
                count += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return count


@pytest.mark.parametrize("limit", [SLOW, RateLimit(100, 20), RateLimit(1000, 1000)])
async def test_replicas_together_let_in_no_more_than_the_limit(
    database: Database, limit: RateLimit
) -> None:
    replicas = [Limiter(RateLimits(database)) for _ in range(2)]
    begin = time.monotonic()
    counts = await asyncio.gather(
        *(taken(each, limit, callers=30, until=begin + 1.0) for each in replicas)
    )
    elapsed = time.monotonic() - begin
    assert sum(counts) <= limit.burst + limit.per_second * (elapsed + gcra.TOLERANCE)
    assert sum(counts) >= limit.burst


async def test_a_wait_that_is_told_is_long_enough(database: Database) -> None:
    source = RateLimits(database)
    assert (await source.acquire("acme", "key:1", SLOW, 100)).calls == 5
    refused = await source.acquire("acme", "key:1", SLOW, 1)
    assert (refused.calls, 0 < refused.retry_after <= 0.2) == (0, True)
    await rest(database, seconds=refused.retry_after)
    assert (await source.acquire("acme", "key:1", SLOW, 1)) == Grant(1, 0.0)


async def rest(database: Database, seconds: float) -> None:
    """Let time pass, as far as limits go."""

    async def work(connection: AsyncConnection) -> None:
        passed = {"passed": seconds}
        moved = "UPDATE rate_limits SET tat = tat - make_interval(secs => :passed)"
        await connection.execute(text(moved), passed)

    await database.transaction(work)


async def callers_kept(database: Database) -> int:
    async def work(connection: AsyncConnection) -> int:
        return int(
            (await connection.execute(text("SELECT count(*) FROM rate_limits"))).scalar_one()
        )

    return await database.read(work)


async def test_who_has_rested_is_forgotten_step_by_step(database: Database) -> None:
    source = RateLimits(database)
    for number in range(7):
        await source.acquire("acme", f"key:{number}", SLOW, 1)
    place: store.Place = store.BEGIN
    assert await source.forget_some(store.BEGIN) == ("acme", "key:6")
    assert await callers_kept(database) == 7

    await rest(database, seconds=120)
    await source.acquire("acme", "key:3", SLOW, 1)
    ends = []
    for _ in range(3):
        step = partial(store.forget_rested, after=place, most=3)
        found: store.Place | None = await database.transaction(step)
        assert found
        place = found
        ends.append(place[1])
    assert ends == ["key:2", "key:5", "key:6"]
    assert await callers_kept(database) == 1
    assert await source.forget_some(("acme", "key:6")) == store.BEGIN


def question(**changes: Any) -> guard_service_pb2.AcquireCallsRequest:
    limit = rate_limit_pb2.RateLimit(per_second=5, burst=5)
    values: dict[str, Any] = {
        "tenant": "umbrella",
        "subject": "key:1",
        "rate_limit": limit,
        "calls": 3,
    }
    return guard_service_pb2.AcquireCallsRequest(**(values | changes))


async def test_services_acquire_calls_for_callers_of_any_tenant(
    auth: Replica, served: Served
) -> None:
    guard = GuardServiceStub(served.channel(await auth.key("service", tenant="mesh")))
    assert (await guard.AcquireCalls(question())).calls == 3
    second = await guard.AcquireCalls(question())
    assert (second.calls, second.HasField("retry_after")) == (2, False)
    third = await guard.AcquireCalls(question())
    assert third.calls == 0
    assert 0 < third.retry_after.ToMicroseconds() <= 200_001
    assert (await guard.AcquireCalls(question(tenant="acme"))).calls == 3


async def test_without_a_burst_it_is_a_seconds_calls(auth: Replica, served: Served) -> None:
    guard = GuardServiceStub(served.channel(await auth.key("service", tenant="mesh")))
    for rate, burst in ((7.9, 7), (0.1, 1)):
        limit = rate_limit_pb2.RateLimit(per_second=rate)
        asked = question(rate_limit=limit, subject=f"key:{rate}", calls=100)
        assert (await guard.AcquireCalls(asked)).calls == burst


async def test_only_services_may_take_calls(auth: Replica, served: Served) -> None:
    guard = GuardServiceStub(served.channel(await auth.key("admin")))
    with refusal(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
        await guard.AcquireCalls(question())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"calls": 0}, "calls"),
        ({"tenant": ""}, "tenant"),
        ({"subject": ""}, "subject"),
        ({"rate_limit": None}, "rate_limit"),
        ({"rate_limit": rate_limit_pb2.RateLimit(per_second=0)}, "rate_limit.per_second"),
        ({"rate_limit": rate_limit_pb2.RateLimit(per_second=1e-9)}, "rate_limit.per_second"),
        (
            {"rate_limit": rate_limit_pb2.RateLimit(per_second=float("nan"))},
            "rate_limit.per_second",
        ),
        ({"rate_limit": rate_limit_pb2.RateLimit(per_second=1, burst=-1)}, "rate_limit.burst"),
    ],
)
async def test_questions_that_make_no_sense_are_refused(
    auth: Replica, served: Served, changes: dict[str, object], field: str
) -> None:
    guard = GuardServiceStub(served.channel(await auth.key("service", tenant="mesh")))
    with refusal(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await guard.AcquireCalls(question(**changes))


async def test_a_limiter_takes_its_calls_from_auth(auth: Replica, served: Served) -> None:
    channel = served.channel(await auth.key("service", tenant="mesh"))
    limiters = [Limiter(AuthSource(channel)) for _ in range(2)]
    for number in range(5):
        await limiters[number % 2].take("acme", "key:1", SLOW)
    for limiter in limiters:
        with pytest.raises(ResourceExhausted):
            await limiter.take("acme", "key:1", SLOW)


async def test_a_source_without_auth_says_that_it_is_away(auth: Replica, served: Served) -> None:
    refused = AuthSource(served.channel(await auth.key("admin")))
    with pytest.raises(Unavailable):
        await refused.acquire("acme", "key:1", SLOW, 1)
