"""Steps of the model: something is done, all settles, and everything is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import UUID

from meshkit.errors import DomainError
from meshkit.ids import uuid7
from services.task.dispatch.streams import DrainCause, Stream
from services.task.domain.reports import ENDS, Outcome, Receipt
from services.task.domain.task import Agent, Lease, NewTask, Task
from services.task.engine.operations.create import CreateTasks, Creation, Repeated
from services.task.engine.operations.report import Renew, Report
from tests.integration.task import model_truth
from tests.integration.task.model_engine import (
    BACKOFF,
    PATIENCE,
    TENANT,
    Engine,
    assigned,
    given,
    messages,
    stops,
    taken,
)
from tests.integration.task.model_reference import Reference, Worker


class Steps:
    """Drives the engine and the reference side by side."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reference = Reference()
        self.requests: dict[str, UUID] = {}
        self.told: dict[UUID, set[tuple[UUID, int]]] = {}
        self.story: list[str] = []
        self._position = 0

    async def step(self, *doings: Awaitable[Any]) -> list[Any]:
        """Do things, side by side if they are several; return what each came to."""
        could = self._open()
        self.story.append("-- a step")
        outcomes = await asyncio.gather(*doings, return_exceptions=True)
        for outcome in outcomes:
            # Who had asked a replica that was killed will never know.
            known = isinstance(outcome, DomainError | asyncio.CancelledError)
            if isinstance(outcome, BaseException) and not known:
                raise outcome
        await self.engine.settle()
        await self._look(could | self._open())
        await self._come_to_rest()
        return outcomes

    async def prepare(self, room: int, new: NewTask) -> tuple[int, Creation]:
        """Prepare a creation, so that nothing but the writer is between it and the others."""
        return room, await self.engine.rooms[room].creation(new)

    async def create(self, room: int, creation: Creation) -> Task | Repeated | DomainError:
        """Create a task."""
        new = creation.new
        # Its events may come before the answer.
        self.reference.expect(creation.task_id, new)
        self.reference.define_limits(new)
        self._tell(f"create in {room}: {briefly(new)}")
        [made] = await self.engine.rooms[room].writer.do(CreateTasks([creation]))
        if isinstance(made, Task):
            assert made.id == creation.task_id
        else:
            # Had it been made all the same, its events would be nobody's.
            del self.reference.tasks[creation.task_id]
        if new.request_id and not isinstance(made, DomainError):
            made_id = made.id if isinstance(made, Task) else made.task_id
            assert self.requests.setdefault(new.request_id, made_id) == made_id
        return made  # type: ignore[no-any-return] # the writer is for operations of all kinds

    async def report(
        self, room: int, agent_id: UUID, lease: tuple[UUID, int], outcome: Outcome
    ) -> Receipt:
        """Have an agent report."""
        of = Lease(*lease)
        self._tell(f"report in {room}: {lease[0]} epoch {lease[1]}: {briefly(outcome)}")
        report = Report(TENANT, agent_id, [(of, outcome)], BACKOFF)
        [receipt] = await self.engine.rooms[room].writer.do(report)
        if isinstance(outcome, ENDS):
            for stream in self.engine.streams:
                if stream.agent.id == agent_id:
                    self.engine.streams[stream].seating.drop(stream, of)
        return receipt  # type: ignore[no-any-return] # the writer is for operations of all kinds

    async def renew(self, room: int, agent_id: UUID, leases: Sequence[tuple[UUID, int]]) -> Any:
        """Have an agent renew."""
        renew = Renew(TENANT, agent_id, [Lease(*lease) for lease in leases])
        return await self.engine.rooms[room].writer.do(renew)

    async def connect(self, room: int, capabilities: Sequence[str], slots: int) -> None:
        """Connect an agent that was never seen before."""
        agent = Agent(
            uuid7(), TENANT, f"agent-{len(self.reference.workers)}", dict.fromkeys(capabilities, "")
        )
        self.reference.workers[agent.id] = Worker(agent, slots)
        self.told[agent.id] = set()
        self.engine.connect(room, agent, slots)

    async def resume(self, room: int, agent_id: UUID) -> None:
        """Connect an agent again that had gone, with what it still holds."""
        worker = self.reference.workers[agent_id]
        claimed = sorted(self.told[agent_id])
        held = (await self.renew(room, agent_id, claimed)).held if claimed else frozenset()
        worker.open = True
        stream = Stream(worker.agent, frozenset(worker.agent.capabilities), worker.slots)
        stream.held.update({lease.task_id: lease.epoch for lease in held})
        owner = self.engine.rooms[room]
        self.engine.streams[stream] = owner
        owner.dispatcher.open(stream)

    async def disconnect(self, stream: Stream) -> None:
        """Cut a stream; its agent may go on with what it has."""
        self.engine.disconnect(stream)
        self.reference.workers[stream.agent.id].open = False

    async def leave(self, stream: Stream) -> None:
        """Have an agent say that it takes nothing more."""
        self.engine.streams[stream].dispatcher.leave(stream, DrainCause.LEAVING)
        self.reference.workers[stream.agent.id].open = False

    async def restart(self, number: int) -> None:
        """Kill a replica and start another."""
        for stream in await self.engine.restart(number):
            self.told[stream.agent.id].update(assigned(messages(stream)))
            self.reference.workers[stream.agent.id].open = False

    async def _come_to_rest(self) -> None:
        """Give what may take a moment its moment, or object."""
        patience = asyncio.get_running_loop().time() + PATIENCE
        while problems := await self._problems():
            assert asyncio.get_running_loop().time() < patience, problems
            await self.engine.settle()
            await self._look(self._open())

    def _tell(self, what: str) -> None:
        self.story.append(what)

    def _open(self) -> set[UUID]:
        return {agent_id for agent_id, each in self.reference.workers.items() if each.open}

    async def _look(self, free: set[UUID]) -> None:
        rows = await self.engine.execute(
            "SELECT position, task_id, sequence, type, state, attempt, epoch, agent_id"
            " FROM task_events WHERE position > :position ORDER BY position",
            position=self._position,
        )
        started: set[tuple[UUID, int, UUID]] = set()
        for event in rows:
            self._tell(
                f"  {event.task_id} {event.type} -> {event.state}, attempt {event.attempt},"
                f" epoch {event.epoch}"
            )
            self.reference.replay(event, free=free)
            self._position = event.position
            if event.type == "started":
                started.add((event.task_id, event.epoch, event.agent_id))
        truth = await model_truth.read(self.engine.database)
        truth.check(self.reference)
        self._hear(started)

    def _hear(self, started: set[tuple[UUID, int, UUID]]) -> None:
        """Have every agent read what it was told, and see that it was all it should be."""
        for stream in self.engine.streams:
            told = messages(stream)
            leases = assigned(told)
            agent_id = stream.agent.id
            for task in given(told):
                expected = self.reference.tasks[task.id].new
                assert task.input == expected.input, f"given without its input: {task.id}"
            for lease in leases:
                assert (*lease, agent_id) in started, f"told of {lease}, which did not start"
                assert lease not in self.told[agent_id], f"told twice of {lease}"
                self.told[agent_id].add(lease)
            for lease in taken(told):
                assert not self.reference.holds(*lease, agent_id), f"told that {lease} is lost"
            for lease in stops(told):
                assert lease in self.told[agent_id], f"asked to stop {lease}, which it never got"

    async def _problems(self) -> list[str]:
        truth = await model_truth.read(self.engine.database)
        return [*truth.unsettled(self.reference), *self._wrong_seats()]

    def _wrong_seats(self) -> list[str]:
        """Where a replica's memory of who holds what is not so."""
        wrong = []
        for stream in self.engine.streams:
            agent_id = stream.agent.id
            held = set(stream.held.items())
            holds = {
                task.lease
                for task in self.reference.tasks.values()
                if task.state == "running" and task.agent_id == agent_id
            }
            if held != holds:
                wrong.append(f"{stream.agent.name}: seated {held}, holds {holds}")
            if stream.reserved:
                wrong.append(f"{stream.agent.name}: {stream.reserved} seats stay reserved")
        return wrong


def briefly(thing: Any) -> str:
    """Show what of a dataclass differs from its defaults; anything else as it is."""
    if not is_dataclass(thing):
        return repr(thing)
    shown = []
    for each in fields(thing):
        value = getattr(thing, each.name)
        if each.repr and value != each.default and value not in ({}, ""):
            shown.append(f"{each.name}={briefly(value) if is_dataclass(value) else value!r}")
    return f"{type(thing).__name__}({', '.join(shown)})"
