"""Tells all replicas who is connected to this one, by way of the database."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.dispatch.streams import Stream
from services.task.domain.connection import Connection
from services.task.engine.seating import Seating
from services.task.store import connections as store

log = structlog.get_logger()

_TELL_SECONDS: Final = 3.0
# That this replica lives is told so often, within a third of the time after which it counts as
# gone; and of an agent that was heard of since, though nothing else has changed.
_REPEAT_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 2.0
_MOST_TASK_IDS: Final = 100


class Presence:
    """Keeps the rows of this replica's streams, and removes those that nobody keeps."""

    def __init__(self, database: Database, seating: Seating) -> None:
        self._database = database
        self._seating = seating
        self._replica = uuid4()
        self._told: dict[UUID, _Told] = {}
        self._lived = -math.inf
        self._telling = asyncio.Lock()

    async def tell(self) -> None:
        """Store what has changed since it was last told.

        Raises:
            Unavailable: The database is away.
        """
        async with self._telling:
            now = asyncio.get_running_loop().time()
            signs = {each: _sign(each) for each in self._seating.streams if each.lasting}
            closed = self._told.keys() - {each.id for each in signs}
            news = [each for each, sign in signs.items() if self._is_news(each, sign, now)]
            if news or closed or now - self._lived >= _REPEAT_SECONDS:
                told = await self._store(signs, news, closed, now)
                self._lived = now
                for stream_id in closed:
                    del self._told[stream_id]
                self._told.update((each.id, _Told(signs[each], now, each.seen)) for each in told)

    async def _store(
        self,
        signs: Mapping[Stream, _Sign],
        news: Sequence[Stream],
        closed: AbstractSet[UUID],
        now: float,
    ) -> Sequence[Stream]:
        """Store what is new, or all if the others have forgotten this replica; return which."""

        async def work(connection: AsyncConnection) -> Sequence[Stream]:
            forgotten = await store.live(connection, self._replica)
            told = list(signs) if forgotten else news
            if told:
                rows = [(_connection(each), now - each.seen) for each in told]
                await store.put_connections(connection, self._replica, rows)
            if closed:
                await store.delete_connections(connection, closed)
            return told

        return await self._database.transaction(work)

    async def sweep(self) -> None:
        """Remove the replicas that were not heard of for long, and their connections.

        Raises:
            Unavailable: The database is away.
        """
        await self._database.transaction(store.delete_gone)

    async def run(self) -> None:
        """Tell until cancelled; then say goodbye for all."""
        try:
            await self._keep_telling()
        finally:
            if self._lived > -math.inf:
                await self._say_goodbye()

    async def _keep_telling(self) -> None:
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            try:
                await self.tell()
                if loop.time() - swept > _REPEAT_SECONDS:
                    swept = loop.time()
                    await self.sweep()
            except DomainError as error:
                log.warning("can't tell who is connected", cause=error.message)
            await asyncio.sleep(_TELL_SECONDS)

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._database.transaction(
                    lambda connection: store.delete_replica(connection, self._replica)
                )
        except (DomainError, TimeoutError) as error:
            # The rows go by themselves, a little later.
            log.info("left without goodbye", cause=repr(error))

    def _is_news(self, stream: Stream, sign: _Sign, now: float) -> bool:
        told = self._told.get(stream.id)
        if told is None or told.sign != sign:
            return True
        return stream.seen > told.seen and now - told.time >= _REPEAT_SECONDS


_Sign = tuple[int, int, tuple[UUID, ...]]
"""What may change of a stream: its slots, how many tasks it holds, and the first of these."""


class _Told(NamedTuple):
    """What was last told of a stream, and when, and when it had last been heard of."""

    sign: _Sign
    time: float
    seen: float


def _sign(stream: Stream) -> _Sign:
    held = stream.held
    return stream.slots, len(held), tuple(islice(held, _MOST_TASK_IDS)) if held else ()


def _connection(stream: Stream) -> Connection:
    agent = stream.agent
    return Connection(
        id=stream.id,
        tenant=agent.tenant,
        agent_id=agent.id,
        agent_name=agent.name,
        process_id=stream.process_id,
        capabilities=tuple(sorted(stream.capabilities)),
        slots=stream.slots,
        held=len(stream.held),
        build_id=stream.build_id,
        sdk=stream.sdk,
        connect_time=stream.connect_time,
        task_ids=tuple(islice(stream.held, _MOST_TASK_IDS)),
    )
