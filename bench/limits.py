"""What rate limits cost, and how exact they are: `python -m bench.limits`.

Prints the time that a call takes in the limiter's interceptor by kind of caller, and how
many calls two processes together let in of what the limit allows.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import uvloop
from pydantic import SecretStr

from agentmesh.stack.postgres import EmbeddedPostgres
from meshkit.database.engine import Database
from meshkit.database.migrations import migrate
from meshkit.errors import ResourceExhausted
from meshkit.interceptors.chain import Call
from meshkit.interceptors.limit import Limit
from meshkit.limits.limiter import Limiter
from meshkit.limits.rate import RateLimit
from meshkit.security.principal import Principal
from meshkit.settings import DatabaseSettings
from services.auth.create_key import MIGRATIONS
from services.auth.usecases.limits import RateLimits

CALLS: Final = 20_000
ROUNDS: Final = 5
CALLERS: Final = 50
SECONDS: Final = 5.0
HOT: Final = RateLimit(1_000_000, 1_000_000)
REFUSED: Final = RateLimit(1e-6, 1)
EXACT: Final = (RateLimit(5, 5), RateLimit(200, 50), RateLimit(5_000, 1_000))


def call_of(limit: RateLimit | None) -> Call:
    """Make a call of a caller with a limit."""
    nothing: Any = None
    principal = Principal(f"key:{limit}", "acme", ("task:*",), rate_limit=limit)
    return Call("/bench", nothing, b"", {}, streaming=False, principal=principal)


async def admitted(interceptor: Limit, call: Call) -> None:
    """Have a call admitted again and again."""
    for _ in range(CALLS):
        await interceptor.admit(call)


async def refused(interceptor: Limit, call: Call) -> None:
    """Have a call refused again and again."""
    for _ in range(CALLS):
        try:
            await interceptor.admit(call)
        except ResourceExhausted:
            continue


Load = Callable[[Limit, Call], Awaitable[None]]


async def cost(database: Database) -> None:
    """Print the microseconds that a call takes in the interceptor."""
    interceptor = Limit(Limiter(RateLimits(database)))
    loads: dict[str, tuple[Load, RateLimit | None]] = {
        "no limit": (admitted, None),
        "hot limit, leased": (admitted, HOT),
        "refused": (refused, REFUSED),
    }
    for name, (load, limit) in loads.items():
        call = call_of(limit)
        await load(interceptor, call)
        spans = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            await load(interceptor, call)
            spans.append((time.perf_counter() - begun) / CALLS * 1e6)
        print(f"{name:<18} {statistics.median(spans):6.2f} µs a call")


async def count(url: str, limit: RateLimit, parent: Connection) -> int:
    """Call as often as the limit lets many callers, from when the parent says so."""
    database = Database(DatabaseSettings(url=SecretStr(url)))
    await database.ping()
    limiter = Limiter(RateLimits(database))
    calls = 0
    parent.send("ready")
    until = time.time() + parent.recv()

    async def caller() -> None:
        nonlocal calls
        while time.time() < until:
            try:
                await limiter.take("acme", f"key:{limit}", limit)
            except ResourceExhausted as error:
                await asyncio.sleep(error.retry_after or 0)
            else:
                calls += 1
                await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await database.close()
    return calls


def count_in_process(url: str, limit: RateLimit, parent: Connection) -> None:
    """Do the same in a process of its own."""
    parent.send(uvloop.run(count(url, limit, parent)))


async def exactness(url: str) -> None:
    """Print what two processes together let in, and what the limit allows."""
    spawning = multiprocessing.get_context("spawn")
    for limit in EXACT:
        processes = []
        for _ in range(2):
            ours, theirs = spawning.Pipe()
            arguments = (url, limit, theirs)
            spawning.Process(target=count_in_process, args=arguments, daemon=True).start()
            processes.append(ours)
        for each in processes:
            await asyncio.to_thread(each.recv)
        begin = time.time()
        for each in processes:
            each.send(SECONDS)
        counts = [await asyncio.to_thread(each.recv) for each in processes]
        allowed = limit.burst + limit.per_second * (time.time() - begin)
        print(
            f"{limit.per_second:6g} /s, burst {limit.burst:<5} two processes let in"
            f" {sum(counts):6} of at most {allowed:8.0f}"
        )


async def main() -> None:
    """Measure on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="agentmesh-") as temporary:
        async with EmbeddedPostgres(Path(temporary) / "data", durable=False) as postgres:
            await postgres.create_database("auth")
            url = postgres.url("auth")
            database = Database(DatabaseSettings(url=SecretStr(url)))
            await migrate(database.url, MIGRATIONS)
            await cost(database)
            await database.close()
            await exactness(url)


if __name__ == "__main__":
    uvloop.run(main())
