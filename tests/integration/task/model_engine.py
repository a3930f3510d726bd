"""Replicas of the engine without servers: all that decides, and nothing that carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from meshkit.client import Channels
from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from meshkit.ids import uuid7
from meshkit.settings import PeerSettings
from services.task.dispatch.streams import Assigned, Lost, Message, StopAsked, Stream
from services.task.domain.lanes import UNROUTED, lane_key
from services.task.domain.retries import Backoff
from services.task.domain.task import Agent, NewTask, Task
from services.task.engine import batch
from services.task.engine.needs import Needs
from services.task.engine.operations.create import Creation
from services.task.engine.operations.due import LookAtDue
from services.task.peers import Registry
from services.task.replica import Replica
from services.task.settings import DispatchSettings

TENANT: Final = "acme"
PATIENCE: Final = 5.0
# Nothing happens by itself while a test runs: time passes only when the model moves it.
RULES: Final = DispatchSettings(
    lease=3600, cancel_grace=600, retry_backoff=1000, retry_backoff_max=1000
)
BACKOFF: Final = Backoff(1000.0, 1000.0)

_TABLES: Final = (
    "tasks, finished_tasks, task_events, task_terms, task_requests, task_dependencies, limits,"
    " limit_members, budgets, lanes, outbox, outbox_dead"
)


class Nothing:
    """An operation without effect: has the writer make one transaction."""

    def need(self, needs: Needs) -> None:
        """Need nothing."""

    def apply(self, _changes: Any) -> None:
        """Change nothing."""


class Room:
    """One replica: its writer, its seating and its dispatcher, and what it hears of the other."""

    def __init__(self, database: Database) -> None:
        self._heard: set[str] = set()
        self._arrived = asyncio.Event()
        self._channels = Channels(PeerSettings())
        replica = Replica(database, Registry(self._channels), _publish, RULES)
        self.seating, self.lanes = replica.seating, replica.lanes
        self.writer, self.dispatcher = replica.writer, replica.dispatcher
        notifications = Notifications(
            database.url,
            {
                batch.QUEUED: self.dispatcher.heard_of_work,
                batch.LOST: self.dispatcher.heard_of_loss,
                batch.STOP: self.dispatcher.heard_of_stop,
                "barrier": self._hear,
            },
        )
        parts = (self.writer.run(), notifications.run())
        self._running = [asyncio.create_task(part) for part in parts]

    async def close(self) -> None:
        """End as a process does that is killed: nothing is told to anybody."""
        for part in self._running:
            part.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._channels.close()

    async def hears(self, name: str) -> None:
        """Wait until a notification of this name has arrived, and so all before it."""
        async with asyncio.timeout(PATIENCE):
            while name not in self._heard:
                self._arrived.clear()
                await self._arrived.wait()

    async def is_listening(self) -> None:
        """Wait until it hears."""
        await self.hears("")

    async def creation(self, new: NewTask) -> Creation:
        """Prepare a creation, with its lane."""
        key = lane_key(TENANT, new.capability, new.priority, new.policy, bucket=UNROUTED)
        lane = await self.lanes.lane_of(key, new.policy.fairness_weight)
        return Creation(uuid7(), TENANT, "key:model", lane.id, new)

    def _hear(self, payload: str) -> None:
        self._heard.add(payload)
        self._arrived.set()


async def _publish(_events: Sequence[Any]) -> None:
    raise AssertionError("nobody relays here")


class Engine:
    """Two replicas on one database, and the agents that are connected to them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rooms: list[Room] = []
        self.streams: dict[Stream, Room] = {}
        self._barriers = 0

    async def open(self) -> None:
        """Empty the database and start both replicas."""
        await self.execute(f"TRUNCATE {_TABLES}")
        self.rooms = [Room(self.database) for _ in range(2)]
        for room in self.rooms:
            await room.is_listening()

    async def close(self) -> None:
        """Stop both replicas."""
        for room in self.rooms:
            await room.close()

    async def execute(self, statement: str, **values: Any) -> Any:
        """Execute a statement in a transaction of its own."""
        return await self.database.transaction(lambda tx: tx.execute(text(statement), values))

    async def restart(self, number: int) -> list[Stream]:
        """Kill a replica and start another in its place; return the streams that are gone."""
        old = self.rooms[number]
        await old.close()
        self.rooms[number] = Room(self.database)
        await self.rooms[number].is_listening()
        gone = [stream for stream, room in self.streams.items() if room is old]
        for stream in gone:
            del self.streams[stream]
        return gone

    async def sever(self) -> None:
        """Cut the connections of all writers, as a restart of the database would."""
        await self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'agentmesh-writer'"
        )

    def connect(self, number: int, agent: Agent, slots: int) -> Stream:
        """Connect an agent to a replica."""
        stream = Stream(agent, frozenset(agent.capabilities), slots)
        room = self.rooms[number]
        self.streams[stream] = room
        room.dispatcher.open(stream)
        return stream

    def disconnect(self, stream: Stream) -> None:
        """Cut an agent's stream; what it was not told of is given back."""
        room = self.streams.pop(stream)
        room.dispatcher.close(stream)

    async def settle(self) -> None:
        """Wait until the replicas have nothing left to do."""
        before = -1
        while before != (before := await self._position()):
            await self._hear_all()
            await self.rooms[0].writer.do(LookAtDue(200, BACKOFF))
            await self._hear_all()
            for room in self.rooms:
                await room.writer.do(Nothing())

    async def _position(self) -> int:
        result = await self.execute("SELECT coalesce(max(position), 0) FROM task_events")
        return int(result.scalar_one())

    async def _hear_all(self) -> None:
        self._barriers += 1
        name = str(self._barriers)
        await self.execute("SELECT pg_notify('barrier', :name)", name=name)
        for room in self.rooms:
            await room.hears(name)
            await asyncio.gather(*room.dispatcher._errands)


def messages(stream: Stream) -> list[Message]:
    """Take what a stream's agent has been told since the last time."""
    told: list[Message] = []
    while stream._outgoing:
        message = stream._take()
        if message is not None:
            told.append(message)
    return told


def given(told: Sequence[Message]) -> list[Task]:
    """Return the tasks that messages gave."""
    return [task for each in told if isinstance(each, Assigned) for task in each.tasks]


def assigned(told: Sequence[Message]) -> list[tuple[UUID, int]]:
    """Return the leases that messages gave."""
    return [(task.id, task.epoch) for task in given(told)]


def taken(told: Sequence[Message]) -> set[tuple[UUID, int]]:
    """Return the leases that messages took away."""
    lost = [each for each in told if isinstance(each, Lost)]
    return {(lease.task_id, lease.epoch) for each in lost for lease in each.leases}


def stops(told: Sequence[Message]) -> set[tuple[UUID, int]]:
    """Return the leases of tasks that messages asked to stop."""
    asked = [each for each in told if isinstance(each, StopAsked)]
    return {(lease.task_id, lease.epoch) for each in asked for lease in each.leases}
