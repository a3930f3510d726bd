"""Transactions on a real PostgreSQL, and what becomes of them when things go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agentmesh.stack.postgres import EmbeddedPostgres
from meshkit.database.engine import Database, constraint_of
from meshkit.database.metrics import IN_USE, OPEN
from meshkit.errors import InvalidArgument, Unavailable
from meshkit.settings import DatabaseSettings
from meshkit.testing.databases import ServiceDatabase
from tests.waiting import until_true

Open = Callable[..., Database]

SLOW_COMMIT = (
    """CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$""",
    """CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_at_commit()""",
)
INCREMENT = text("UPDATE things SET n = n + 1 WHERE id = :id")


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=SecretStr(url), **settings))
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def url(service_database: ServiceDatabase) -> str:
    """Make a database with a table of two things."""
    database = await service_database("auth")
    await run(
        database,
        "CREATE TABLE things (id int PRIMARY KEY, n int CONSTRAINT positive CHECK (n >= 0))",
        "INSERT INTO things VALUES (1, 0), (2, 0)",
    )
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open it with a single connection, so that a connection lost is noticed."""
    before = IN_USE._value.get(), OPEN._value.get()
    async with opened(url, pool_size=1, max_overflow=0, pool_timeout=5) as database:
        yield database
        assert await run(database, "SELECT 1") == 1
    assert (IN_USE._value.get(), OPEN._value.get()) == before


async def run(database: Database, *statements: str) -> Any:
    async def work(tx: AsyncConnection) -> Any:
        results = [await tx.execute(text(statement)) for statement in statements]
        return results[-1].scalar() if results[-1].returns_rows else None

    return await database.transaction(work)


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    async def work(tx: AsyncConnection) -> None:
        await tx.execute(text("UPDATE things SET n = 5"))
        raise ValueError("no")

    assert await run(database, "UPDATE things SET n = 1 WHERE id = 1 RETURNING n") == 1
    with pytest.raises(ValueError, match="no"):
        await database.transaction(work)
    assert await run(database, "SELECT sum(n) FROM things") == 1


async def test_a_deadlock_is_run_again(url: str) -> None:
    async def both(tx: AsyncConnection, first: int) -> None:
        attempts.append(first)
        await tx.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        await tx.execute(INCREMENT, {"id": first})
        if len(attempts) <= 2:
            await met.wait()
        await tx.execute(INCREMENT, {"id": 3 - first})

    attempts: list[int] = []
    met = asyncio.Barrier(2)
    async with opened(url) as database:
        await asyncio.gather(
            database.transaction(lambda tx: both(tx, 1)),
            database.transaction(lambda tx: both(tx, 2)),
        )
        assert await run(database, "SELECT sum(n) FROM things") == 4
    assert len(attempts) == 3


async def test_a_serialization_failure_is_run_again_but_not_for_ever(url: str) -> None:
    async def overtaken(tx: AsyncConnection) -> None:
        attempts.append(True)
        await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await tx.execute(text("SELECT n FROM things"))
        if len(attempts) <= failures:
            await run(database, "UPDATE things SET n = n + 10")
        await tx.execute(text("UPDATE things SET n = n + 1"))

    attempts: list[bool] = []
    async with opened(url) as database:
        failures = 2
        await database.transaction(overtaken)
        assert len(attempts) == 3
        assert await run(database, "SELECT max(n) FROM things") == 21
        failures = 100
        with pytest.raises(Unavailable, match="Try again"):
            await database.transaction(overtaken)
        assert len(attempts) == 3 + 4


async def is_waiting(url: str) -> bool:
    async with opened(url) as observer:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(await run(observer, waiting))


async def test_a_commit_under_way_is_awaited_however_often_it_is_cancelled(
    database: Database, url: str
) -> None:
    await run(database, *SLOW_COMMIT)
    may_end = asyncio.Event()

    async def hold(tx: AsyncConnection) -> None:
        await tx.execute(text("SELECT pg_advisory_xact_lock(7)"))
        held.set()
        await may_end.wait()

    held = asyncio.Event()
    async with opened(url) as other:
        holding = asyncio.create_task(other.transaction(hold))
        await held.wait()
        inserting = asyncio.create_task(run(database, "INSERT INTO things VALUES (3, 3)"))
        await until_true(lambda: is_waiting(url))
        for _ in range(2):
            inserting.cancel()
            await asyncio.wait([inserting], timeout=0)
            assert not inserting.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await inserting
        await holding
    assert await run(database, "SELECT n FROM things WHERE id = 3") == 3


async def test_a_cancelled_statement_leaves_a_healthy_pool(database: Database, url: str) -> None:
    async def wait(tx: AsyncConnection) -> None:
        await tx.execute(text("UPDATE things SET n = 9"))
        await tx.execute(text("SELECT pg_advisory_xact_lock(7)"))

    async def hold(tx: AsyncConnection) -> None:
        await tx.execute(text("SELECT pg_advisory_xact_lock(7)"))
        waiting = asyncio.create_task(database.transaction(wait))
        await until_true(lambda: is_waiting(url))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async with opened(url) as other:
        await other.transaction(hold)
    assert await run(database, "SELECT sum(n) FROM things") == 0


async def test_no_free_connection_is_unavailable(url: str) -> None:
    async def refused(_tx: AsyncConnection) -> None:
        with pytest.raises(Unavailable, match="database can't be reached"):
            await run(small, "SELECT 1")

    async with opened(url, pool_size=1, max_overflow=0, pool_timeout=0.02) as small:
        await small.transaction(refused)
        assert await run(small, "SELECT 1") == 1


async def test_a_statement_that_takes_too_long_is_ended(url: str) -> None:
    async with opened(url, statement_timeout=0.05) as database:
        with pytest.raises(Unavailable, match="Try again"):
            await run(database, "SELECT pg_sleep(600)")
        assert await run(database, "SELECT 1") == 1


async def test_what_is_no_fault_of_the_database_is_told_apart(database: Database) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        await database.transaction(
            lambda tx: tx.execute(text("SELECT CAST(:it AS text)"), {"it": "a\0b"})
        )
    for statement, constraint in (
        ("UPDATE things SET n = -1", "positive"),
        ("INSERT INTO things VALUES (1, 1)", "things_pkey"),
        ("SELECT nonsense", ""),
    ):
        with pytest.raises(Exception, match="asyncpg") as refused:
            await run(database, statement)
        assert not isinstance(refused.value, Unavailable)
        assert constraint_of(refused.value) == constraint  # type: ignore[arg-type]  # a DBAPIError


async def _refuse_connections(postgres: EmbeddedPostgres, name: str) -> None:
    connection = await postgres.connect()
    await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await connection.close()
    await _end_sessions(postgres, name)


async def _end_sessions(postgres: EmbeddedPostgres, name: str) -> None:
    connection = await postgres.connect()
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    await connection.close()


async def _drop(postgres: EmbeddedPostgres, name: str) -> None:
    await postgres.drop_database(name)


@pytest.mark.parametrize("lose", [_refuse_connections, _drop])
async def test_a_database_out_of_reach_is_unavailable_without_the_drivers_words(
    postgres: EmbeddedPostgres, url: str, lose: Callable[[EmbeddedPostgres, str], Awaitable[None]]
) -> None:
    before = IN_USE._value.get(), OPEN._value.get()
    async with opened(url) as database:
        await database.ping()
        await lose(postgres, str(database.url.database))
        for _ in range(3):
            with pytest.raises(Unavailable) as unavailable:
                await database.ping()
            assert unavailable.value.message == "The database can't be reached now. Try again."
            assert unavailable.value.retry_after == 1
    assert (IN_USE._value.get(), OPEN._value.get()) == before


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with opened("postgresql+asyncpg://a:secret@/a?host=/nowhere") as database:
        with pytest.raises(Unavailable, match=r"^The database can't be reached now"):
            await database.ping()


async def test_a_connection_that_the_server_ended_is_replaced(database: Database) -> None:
    with pytest.raises(Unavailable):
        await run(database, "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
    assert await run(database, "SELECT 1") == 1


async def test_connections_that_the_server_ended_while_they_were_idle_are_not_noticed(
    postgres: EmbeddedPostgres, url: str
) -> None:
    both = asyncio.Barrier(2)

    async def meet(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        await both.wait()

    async with opened(url) as database:
        await asyncio.gather(database.transaction(meet), database.transaction(meet))
        await _end_sessions(postgres, str(database.url.database))
        await database.ping()
