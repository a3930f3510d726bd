"""A pool of connections, and transactions as functions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meshkit.database.metrics import observe_pool
from meshkit.errors import InvalidArgument, Unavailable
from meshkit.settings import DatabaseSettings

log = structlog.get_logger()
Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]
"""What is done in a transaction. It may run more than once, so it touches only the database."""

_CONFLICTS: Final = ("40001", "40P01")  # serialization failure, deadlock
_UNSTORABLE_TEXT: Final = ("22021", "22P05")
_ATTEMPTS = 4


class _BrokenOff(Exception):
    """The connection broke before the commit: nothing has happened."""


class Database:
    """One service's database."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.url: URL = make_url(settings.url.get_secret_value())
        self._engine = _engine(self.url, settings)
        # On the same pool.
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def transaction(self, work: Work[Result]) -> Result:
        """Run `work` in one transaction and return what it returns, after the commit.

        A deadlock, a serialization failure or a connection that broke before the commit
        runs it again. Once the commit is under way, a cancellation of the caller waits for it.

        Raises:
            Unavailable: The database can't be reached, no connection is free, a statement
                took too long, or others were in the way time and again.
            InvalidArgument: A text holds NUL, which PostgreSQL can't store.
        """
        return await self._in_attempts(self._once, work)

    async def read(self, work: Work[Result]) -> Result:
        """Run `work`, which only reads, and return what it returns.

        Each statement sees what was committed when it began, as in a transaction, but
        without the two round trips that a transaction's begin and end take.

        Raises:
            Unavailable, InvalidArgument: As `transaction` does.
        """
        return await self._in_attempts(self._once_without_transaction, work)

    async def _in_attempts(
        self, once: Callable[[Work[Result]], Awaitable[Result]], work: Work[Result]
    ) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await once(work)
            except _BrokenOff as broken:
                # All that were idle are given up with the one that broke, so the next is new.
                if attempt == _ATTEMPTS:
                    raise _away() from broken
            except DBAPIError as error:
                if _sqlstate(error) not in _CONFLICTS or attempt == _ATTEMPTS:
                    raise _translated(error) from error
                # Two transactions that met once must not meet again in step.
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
            except (OSError, PoolTimeout) as error:
                raise _away() from error
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    async def ping(self) -> None:
        """Raise Unavailable if the database doesn't answer."""
        await self.read(lambda connection: connection.execute(text("SELECT 1")))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _once(self, work: Work[Result]) -> Result:
        async with _connection(self._engine) as connection:
            async with connection.begin() as transaction:
                result = await _unless_broken(work, connection)
                await _to_the_end(transaction.commit())
            return result

    async def _once_without_transaction(self, work: Work[Result]) -> Result:
        async with _connection(self._reader) as connection:
            return await _unless_broken(work, connection)


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with AsyncExitStack() as held:
        try:
            connection = await held.enter_async_context(engine.connect())
        except DBAPIError as error:
            # Whatever the server has against new connections, it's not the caller's doing.
            raise _away() from error
        yield connection


async def _unless_broken(work: Work[Result], connection: AsyncConnection) -> Result:
    try:
        return await work(connection)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _BrokenOff from error
        raise


async def _to_the_end(awaitable: Awaitable[None]) -> None:
    """Await to the end even if cancelled meanwhile; then the cancellation goes on."""
    task = asyncio.ensure_future(awaitable)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            # There may be a second: of a caller that went away and then of its deadline.
            cancellation = error
    failure = task.exception()
    if cancellation is not None:
        raise cancellation
    if failure is not None:
        raise failure


def _engine(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=int(settings.pool_recycle),
        hide_parameters=True,
        connect_args={
            "server_settings": {
                "application_name": "agentmesh",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(settings.statement_timeout),
                "idle_in_transaction_session_timeout": _milliseconds(
                    settings.idle_in_transaction_timeout
                ),
            }
        },
    )
    observe_pool(engine)
    return engine


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _translated(error: DBAPIError) -> Exception:
    unreachable = isinstance(error, OperationalError | InterfaceError)
    if unreachable or error.connection_invalidated or _sqlstate(error)[:2] in ("08", "57", "53"):
        return _away()
    if _sqlstate(error) in _CONFLICTS:
        return Unavailable("Too many callers change the same at once. Try again.", retry_after=0.1)
    if _sqlstate(error) in _UNSTORABLE_TEXT:
        return InvalidArgument("The request holds a NUL character (U+0000); leave it out.")
    return error


def _away() -> Unavailable:
    return Unavailable("The database can't be reached now. Try again.", retry_after=1.0)


def constraint_of(error: DBAPIError) -> str:
    """Return the name of the constraint that a statement broke, or an empty string."""
    cause: Any = getattr(error.orig, "__cause__", None)
    return str(getattr(cause, "constraint_name", None) or "")
