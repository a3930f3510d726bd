"""Holding callers to their limits by leases."""

from __future__ import annotations

import asyncio

import pytest

from meshkit.errors import ResourceExhausted, Unavailable
from meshkit.interceptors import deadline
from meshkit.limits import gcra
from meshkit.limits.limiter import UNUSED_SECONDS, Grant, Limiter, lease_size
from meshkit.limits.rate import RateLimit
from tests.manual_clock import ManualClock
from tests.waiting import until

SLOW = RateLimit(5, 5)
HOT = RateLimit(1000, 1000)


class Source:
    """Stands where auth is asked: one bucket of each caller, counted and cut off as told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[int] = []
        self.tats: dict[tuple[str, str], float] = {}
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
        self.asked.append(calls)
        await self.open.wait()
        if self.away:
            raise Unavailable("away")
        tat = self.tats.get((tenant, subject), gcra.NEVER)
        taken = gcra.take(tat, self.clock.monotonic(), limit, calls)
        self.tats[tenant, subject] = taken.tat
        return Grant(taken.calls, taken.retry_after)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def source(clock: ManualClock) -> Source:
    return Source(clock)


@pytest.fixture
def limiter(source: Source, clock: ManualClock) -> Limiter:
    return Limiter(source, clock=clock)


async def let_in(limiter: Limiter, calls: int, limit: RateLimit, subject: str = "key:1") -> int:
    """Make calls one after the other; return how many were let in."""
    count = 0
    for _ in range(calls):
        try:
            await limiter.take("acme", subject, limit)
        except ResourceExhausted:
            continue
        count += 1
    return count


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        (SLOW, 1),
        (RateLimit(20, 20), 2),
        (RateLimit(1000, 1000), 100),
        (RateLimit(1000, 10), 3),
        (RateLimit(1000, 1), 1),
        (RateLimit(0.001, 1_000_000), 1),
    ],
)
def test_a_lease_holds_a_tenth_of_a_second_but_at_most_a_quarter_of_the_burst(
    limit: RateLimit, size: int
) -> None:
    assert lease_size(limit) == size


@pytest.mark.parametrize("limit", [SLOW, RateLimit(50, 10), HOT])
async def test_one_replica_lets_in_the_burst_and_then_the_rate(
    limiter: Limiter, clock: ManualClock, limit: RateLimit
) -> None:
    assert await let_in(limiter, 2 * limit.burst, limit) == limit.burst
    for _ in range(10):
        clock.advance(1 / limit.per_second)
        assert await let_in(limiter, 2, limit) == 1


async def test_a_refusal_tells_how_long_to_wait_and_after_that_a_call_is_let_in(
    limiter: Limiter, clock: ManualClock
) -> None:
    await let_in(limiter, 5, SLOW)
    clock.advance(0.05)
    with pytest.raises(ResourceExhausted) as refused:
        await limiter.take("acme", "key:1", SLOW)
    assert refused.value.reason == "RATE_LIMITED"
    assert refused.value.retry_after == pytest.approx(0.15, abs=1e-5)
    assert "5 calls a second" in refused.value.message
    clock.advance(refused.value.retry_after or 0)
    await limiter.take("acme", "key:1", SLOW)


async def test_a_flood_of_refused_calls_asks_no_one(limiter: Limiter, source: Source) -> None:
    await let_in(limiter, 6, SLOW)
    asked = len(source.asked)
    assert await let_in(limiter, 1000, SLOW) == 0
    assert len(source.asked) == asked


async def test_a_hot_caller_costs_a_request_for_many_calls(
    limiter: Limiter, source: Source
) -> None:
    assert await let_in(limiter, 500, HOT) == 500
    assert len(source.asked) <= 10


async def test_the_next_lease_is_on_its_way_before_the_last_call_of_one(
    limiter: Limiter, source: Source
) -> None:
    await let_in(limiter, 51, HOT)
    await until(lambda: len(source.asked) == 2)
    source.open.clear()
    # The rest of the first lease and all of the second, without waiting for anybody.
    async with asyncio.timeout(5):
        assert await let_in(limiter, 149, HOT) == 149


async def test_a_caller_that_takes_its_time_has_no_calls_leased_ahead(
    limiter: Limiter, source: Source, clock: ManualClock
) -> None:
    await let_in(limiter, 1, HOT)
    clock.advance(0.5)
    await let_in(limiter, 90, HOT)
    # By when another has its answer, one that was on its way would have been asked for.
    await let_in(limiter, 1, SLOW, "key:2")
    assert source.asked == [100, 1]


async def test_leased_calls_that_are_not_used_in_time_are_lost(
    limiter: Limiter, source: Source, clock: ManualClock
) -> None:
    await let_in(limiter, 1, HOT)
    clock.advance(UNUSED_SECONDS + 0.01)
    await let_in(limiter, 1, HOT)
    assert source.asked == [100, 100]


async def test_callers_at_once_share_a_request_that_asks_for_all_of_them(
    limiter: Limiter, source: Source
) -> None:
    source.open.clear()
    limit = RateLimit(5, 50)
    calls = [asyncio.create_task(limiter.take("acme", "key:1", limit)) for _ in range(20)]
    await until(lambda: bool(source.asked))
    source.open.set()
    await asyncio.gather(*calls)
    assert source.asked == [20]


async def test_callers_at_once_are_let_in_up_to_the_limit(limiter: Limiter) -> None:
    calls = (limiter.take("acme", "key:1", SLOW) for _ in range(40))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes.count(None) == 5
    assert all(each is None or isinstance(each, ResourceExhausted) for each in outcomes)


async def test_a_caller_that_gives_up_takes_nobody_with_it(
    limiter: Limiter, source: Source
) -> None:
    source.open.clear()
    first, second = (asyncio.create_task(limiter.take("acme", "key:1", SLOW)) for _ in range(2))
    await until(lambda: bool(source.asked))
    first.cancel()
    source.open.set()
    await second
    assert first.cancelled()


async def test_subjects_and_tenants_have_limits_of_their_own(limiter: Limiter) -> None:
    assert await let_in(limiter, 9, SLOW) == 5
    assert await let_in(limiter, 9, SLOW, "key:2") == 5
    await limiter.take("umbrella", "key:1", SLOW)


async def test_a_raised_limit_counts_from_the_next_call_on(
    limiter: Limiter, clock: ManualClock
) -> None:
    slow, fast = RateLimit(0.01, 1), RateLimit(1000, 20)
    assert await let_in(limiter, 9, slow) == 1
    assert await let_in(limiter, 9, fast) == 0
    clock.advance(0.01)
    assert await let_in(limiter, 30, fast) == 10


async def test_while_the_source_is_away_each_process_holds_to_the_limit_alone(
    limiter: Limiter, source: Source, clock: ManualClock
) -> None:
    source.away = True
    assert await let_in(limiter, 20, SLOW) == 5
    assert await let_in(limiter, 20, SLOW, "key:2") == 5
    assert len(source.asked) == 1
    clock.advance(0.2)
    assert await let_in(limiter, 20, SLOW) == 1


async def test_the_source_is_asked_again_in_the_background_until_it_is_back(
    limiter: Limiter, source: Source, clock: ManualClock
) -> None:
    source.away = True
    await let_in(limiter, 1, SLOW)
    source.open.clear()
    clock.advance(1.1)
    async with asyncio.timeout(5):
        assert await let_in(limiter, 5, SLOW) == 5
    await until(lambda: len(source.asked) == 2)
    source.away = False
    source.open.set()
    await until(lambda: bool(source.tats))
    assert await let_in(limiter, 20, SLOW) == 5
    assert len(source.asked) > 2


async def test_the_source_is_asked_without_the_callers_deadline(clock: ManualClock) -> None:
    class Remembering(Source):
        remaining: float | None = 0.0

        async def acquire(self, tenant: str, subject: str, limit: RateLimit, calls: int) -> Grant:
            self.remaining = deadline.remaining_seconds()
            return await super().acquire(tenant, subject, limit, calls)

    remembering = Remembering(clock)
    deadline._ends_at.set(asyncio.get_running_loop().time() + 1)
    await Limiter(remembering, clock=clock).take("acme", "key:1", SLOW)
    assert remembering.remaining is None


async def test_only_so_many_callers_are_remembered(source: Source, clock: ManualClock) -> None:
    limiter = Limiter(source, clock=clock, callers=2)
    for subject in ("key:1", "key:2", "key:3"):
        await let_in(limiter, 6, SLOW, subject)
    asked = len(source.asked)
    # What it forgot it asks for again, and is told the same.
    for subject, questions in (("key:3", 0), ("key:2", 0), ("key:1", 1)):
        assert await let_in(limiter, 1, SLOW, subject) == 0
        assert len(source.asked) == asked + questions
        asked += questions
