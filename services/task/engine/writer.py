"""The writer: merges what everybody wants of the database into one transaction after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import URL

from meshkit.errors import DomainError, InvalidArgument, Unavailable
from meshkit.failpoints import failpoint
from services.task.engine.batch import Outcome, carry_out
from services.task.engine.changes import Changes
from services.task.engine.operations.doubt import Start, TakeBack
from services.task.engine.operations.operation import Operation
from services.task.engine.remembered import Remembered
from services.task.engine.seating import Seating
from services.task.engine.session import Session

log = structlog.get_logger()

BATCH_SIZE = Histogram(
    "agentmesh_engine_batch_operations",
    "Operations in a transaction of the engine.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
BATCH_SECONDS = Histogram(
    "agentmesh_engine_batch_seconds",
    "Time of a transaction of the engine.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
RETRIES = Counter("agentmesh_engine_retries", "Transactions of the engine that were done again.")

_MOST_OPERATIONS = 500
_MOST_WEIGHT = 1000
# An idle writer commits at once; a busy one waits for what is about to come, since a transaction
# of thirty costs hardly more than one of three.
_BUSY_OPERATIONS = 3
_PAUSE_SECONDS = 0.001
_LINGER_SECONDS = 0.005
_ATTEMPTS = 5
_RECONNECT_SECONDS = 0.1
_LATER_SECONDS = 0.5
_CONFLICTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_BROKEN = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    # What a statement raises that is sent just as the server says goodbye.
    asyncpg.InternalClientError,
)


@dataclass(eq=False, slots=True)
class _Pending:
    operation: Operation
    weight: int
    done: asyncio.Future[Any] = field(repr=False)
    doubtful: set[datetime] = field(default_factory=set)


class Writer:
    """Carries out operations, many in each transaction; a caller is told after the commit.

    If a transaction fails on what one operation brought, each is done again by
    itself, so that this one fails alone. If the connection broke, the transaction is
    done again on a new one: operations know what they had done before.
    """

    def __init__(self, url: URL, seating: Seating, *, lease: float, grace: float) -> None:
        self._session = Session(url)
        self._seating = seating
        self._lease = lease
        self._grace = grace
        self._pending: list[_Pending] = []
        self._wanted = asyncio.Event()
        self._last = (0, 0.0)
        self._starts: list[Start] = []
        self._remembered = Remembered()
        self._remembered_on: object = None
        self._on_commit: Callable[[Changes], None] = lambda _changes: None
        seating.on_work(self._wanted.set)

    def on_commit(self, tell: Callable[[Changes], None]) -> None:
        """Have somebody told of what each transaction has changed, right after its commit."""
        self._on_commit = tell

    async def do(self, operation: Operation, *, weight: int = 1) -> Any:
        """Carry out an operation and return what it came to, once that is durable.

        `weight` is about how many tasks it touches, which bounds a transaction.

        A caller that is cancelled meanwhile leaves it to be done.

        Raises:
            DomainError: It was refused, and nothing has changed.
            Unavailable: The database is away; it may or may not have been done.
        """
        pending = _Pending(operation, weight, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._wanted.set()
        return await pending.done

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                await self._linger()
                self._wanted.clear()
                await self._write(self._next())
        finally:
            for pending in self._pending:
                pending.done.cancel()
            self._session.drop()

    def _next(self) -> list[_Pending]:
        """Take what goes into the next transaction."""
        weight = count = 0
        for pending in self._pending[:_MOST_OPERATIONS]:
            weight += pending.weight
            if count and weight > _MOST_WEIGHT:
                break
            count += 1
        batch = self._pending[:count]
        del self._pending[:count]
        if self._pending:
            self._wanted.set()
        return batch

    async def _linger(self) -> None:
        operations, seconds = self._last
        if operations < _BUSY_OPERATIONS:
            return
        until = time.monotonic() + min(4 * seconds, _LINGER_SECONDS)
        while len(self._pending) < _MOST_OPERATIONS:
            waiting = len(self._pending)
            await asyncio.sleep(_PAUSE_SECONDS)
            if len(self._pending) == waiting or time.monotonic() >= until:
                return

    async def _write(self, batch: Sequence[_Pending]) -> None:
        begun = time.monotonic()
        try:
            await self._attempt(batch)
        except Unavailable as error:
            self._fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the writer
            if len(batch) > 1:
                for pending in batch:
                    await self._write([pending])
            else:
                self._fail(batch, error)
            return
        self._last = (len(batch), time.monotonic() - begun)
        BATCH_SIZE.observe(len(batch))
        BATCH_SECONDS.observe(self._last[1])

    async def _attempt(self, batch: Sequence[_Pending]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._transaction(batch)
            except _CONFLICTS:
                if attempt == _ATTEMPTS:
                    raise
            except _BROKEN as error:
                if isinstance(error, ValueError):
                    # A value that can't be sent; the connection is fine.
                    raise
                self._session.drop()
                if attempt == _ATTEMPTS:
                    raise Unavailable(
                        "The database can't be reached now. Try again.", retry_after=1.0
                    ) from error
                log.warning("connection lost", cause=repr(error))
                await asyncio.sleep(_RECONNECT_SECONDS * attempt)
            else:
                return
            RETRIES.inc()

    async def _transaction(self, batch: Sequence[_Pending]) -> None:
        if not (batch or self._starts or self._seating.has_work()):
            return
        connection = await self._session.connection()
        now = await self._session.now()
        again = frozenset().union(*(pending.doubtful for pending in batch))
        if connection is not self._remembered_on:
            # What a database that took over has lost may be written anew under the same number.
            self._remembered.forget()
            self._remembered_on = connection
        changes = Changes(
            now, self._seating, self._lease, self._grace, again=again, remembered=self._remembered
        )
        # First, so that what an earlier transaction may have leased can be leased anew.
        operations: list[Operation] = [TakeBack(self._starts)] if self._starts else []
        operations += [pending.operation for pending in batch]
        self._seating.begin()
        try:
            failpoint("writer.before_begin")
            async with connection.transaction():
                failpoint("writer.after_begin")
                outcomes = await carry_out(connection, operations, changes, self._seating)
                failpoint("writer.before_commit")
        except BaseException:
            self._seating.rollback()
            self._remembered.forget()
            self._doubt(batch, changes)
            raise
        self._starts = []
        if changes.xid is not None:
            self._remembered.keep(changes.xid, changes.written.values(), changes.whole)
        failpoint("writer.committed")
        self._seating.commit(changes)
        self._on_commit(changes)
        failpoint("writer.sent")
        self._tell(batch, outcomes[len(outcomes) - len(batch) :])
        if self._seating.has_work():
            self._wanted.set()

    def _doubt(self, batch: Sequence[_Pending], changes: Changes) -> None:
        """Note what was done if the transaction was committed all the same."""
        for pending in batch:
            pending.doubtful.add(changes.now)
        self._starts += [Start(task.lease, changes.now) for _, task in changes.started]

    def _tell(self, batch: Sequence[_Pending], outcomes: Sequence[Outcome]) -> None:
        for pending, outcome in zip(batch, outcomes, strict=True):
            if pending.done.done():
                continue
            if isinstance(outcome, Exception):
                pending.done.set_exception(outcome)
            else:
                pending.done.set_result(outcome)

    def _fail(self, batch: Sequence[_Pending], error: Exception) -> None:
        for pending in batch:
            if not pending.done.done():
                pending.done.set_exception(_translated(error))
        if not isinstance(error, DomainError | asyncpg.DataError):
            log.error("the engine failed", exc_info=error)
        if not batch:
            log.warning("can't claim", cause=repr(error))
        if self._starts or not batch:
            asyncio.get_running_loop().call_later(_LATER_SECONDS, self._wanted.set)


def _translated(error: Exception) -> Exception:
    if isinstance(
        error, asyncpg.UntranslatableCharacterError | asyncpg.CharacterNotInRepertoireError
    ):
        return InvalidArgument("The request holds a NUL character (U+0000); leave it out.")
    return error
