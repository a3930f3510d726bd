"""The machine that drives the engine: agents that come and go, tasks that are asked for, time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.dispatch.streams import Stream
from services.task.domain.task import NewTask, Task
from services.task.engine.operations.create import Repeated
from tests.integration.task.model_engine import Engine
from tests.integration.task.model_reference import Known
from tests.integration.task.model_steps import Steps
from tests.integration.task.model_wishes import CAPABILITIES, KEYS, new_tasks

Result = TypeVar("Result")
NUMBERS = st.integers(0, 40)
ROOMS = st.integers(0, 1)


def there_is(*states: str) -> Callable[[Machine], bool]:
    """Tell whether a task is in one of these states."""
    return lambda machine: any(task.state in states for task in machine.tasks)


class Machine(RuleBasedStateMachine):
    """The engine beside its reference."""

    runner: asyncio.Runner
    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(self.database)
        self.steps = Steps(self.engine)

    def do(self, doing: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self.runner.run(doing)
        except BaseException:
            sys.stderr.write("\n".join(self.steps.story))
            raise

    def teardown(self) -> None:
        self.do(self.engine.close())

    # What there is to choose from; small numbers choose what is recent.

    @property
    def tasks(self) -> list[Known]:
        return [task for task in self.steps.reference.tasks.values() if task.state]

    def some(self, number: int, *states: str) -> Known | None:
        fitting = [task for task in self.tasks if not states or task.state in states]
        return fitting[-1 - number % len(fitting)] if fitting else None

    def some_stream(self, number: int) -> Stream | None:
        streams = list(self.engine.streams)
        return streams[-1 - number % len(streams)] if streams else None

    # Agents.

    @initialize(agents=st.integers(1, 3))
    def start(self, agents: int) -> None:
        self.do(self.engine.open())
        for number in range(agents):
            self.do(self.steps.step(self.steps.connect(number % 2, CAPABILITIES, 2)))

    @precondition(lambda self: len(self.engine.streams) < 3)
    @rule(
        room=ROOMS,
        capabilities=st.sampled_from([CAPABILITIES[:1], CAPABILITIES[1:], CAPABILITIES]),
        slots=st.integers(1, 3),
    )
    def connect(self, room: int, capabilities: tuple[str, ...], slots: int) -> None:
        self.do(self.steps.step(self.steps.connect(room, capabilities, slots)))

    @precondition(lambda self: len(self.engine.streams) > 1)
    @rule(number=NUMBERS)
    def disconnect(self, number: int) -> None:
        if stream := self.some_stream(number):
            self.do(self.steps.step(self.steps.disconnect(stream)))

    @precondition(lambda self: len(self.engine.streams) > 1)
    @rule(number=NUMBERS)
    def leave(self, number: int) -> None:
        if stream := self.some_stream(number):
            self.do(self.steps.step(self.steps.leave(stream)))

    @precondition(lambda self: len(self.steps.reference.workers) > len(self.engine.streams))
    @rule(room=ROOMS, number=NUMBERS)
    def come_back(self, room: int, number: int) -> None:
        connected = {stream.agent.id for stream in self.engine.streams}
        gone = [each for each in self.steps.reference.workers if each not in connected]
        if gone:
            self.do(self.steps.step(self.steps.resume(room, gone[-1 - number % len(gone)])))

    # Creation.

    @rule(data=st.data(), room=ROOMS)
    def create(self, data: st.DataObject, room: int) -> None:
        new = data.draw(new_tasks([task.id for task in self.tasks]))
        [made] = self.do(self.steps.step(self.create_doing(room, new)))
        self.check_made(new, made)

    @rule(data=st.data(), count=st.integers(2, 5))
    def create_many(self, data: st.DataObject, count: int) -> None:
        ids = [task.id for task in self.tasks]
        wanted = [(data.draw(ROOMS), data.draw(new_tasks(ids))) for _ in range(count)]
        made = self.do(self.steps.step(*(self.create_doing(*each) for each in wanted)))
        for (_, new), each in zip(wanted, made, strict=True):
            self.check_made(new, each)

    def create_doing(self, room: int, new: NewTask) -> Coroutine[Any, Any, Any]:
        return self.steps.create(*self.do(self.steps.prepare(room, new)))

    def check_made(self, new: NewTask, made: Task | Repeated | DomainError) -> None:
        if isinstance(made, Task):
            assert self.steps.reference.tasks[made.id].state
        elif isinstance(made, Repeated):
            assert self.steps.requests[new.request_id] == made.task_id

    # Time.

    @precondition(there_is("running"))
    @rule(number=NUMBERS)
    def lapse(self, number: int) -> None:
        if task := self.some(number, "running"):
            lease, last = task.lease, task.attempt >= task.max_attempts
            asked = task.cancel_asked
            self.do(self.steps.step(self.lease_ends(task.id)))
            assert task.lease != lease, "a lapsed lease is still good"
            if asked:
                assert task.state == "cancelled"
            elif last:
                assert task.state == "dead_lettered"

    @precondition(lambda self: any(task.cancel_asked for task in self.tasks))
    @rule(number=NUMBERS)
    def grace_ends(self, number: int) -> None:
        asked = [task for task in self.tasks if task.cancel_asked]
        if asked:
            task = asked[-1 - number % len(asked)]
            self.do(self.steps.step(self.pass_by(task.id, "cancel_by = now()")))
            assert task.state == "cancelled"

    @precondition(there_is("scheduled"))
    @rule(number=NUMBERS)
    def time_comes(self, number: int) -> None:
        if task := self.some(number, "scheduled"):
            self.do(self.steps.step(self.pass_by(task.id, "ready_time = now()")))

    @precondition(there_is("queued", "running", "scheduled", "paused"))
    @rule(number=NUMBERS, what=st.sampled_from(["create", "start", "seen", "ready"]))
    def deadline_passes(self, number: int, what: str) -> None:
        if task := self.some(number, "queued", "running", "scheduled", "paused"):
            before = (task.state, task.epoch)
            change = f"{what}_time = {what}_time - interval '100 h'"
            self.do(self.steps.step(self.pass_by(task.id, change)))
            deadlines = task.policy.deadlines
            if (what == "create" and deadlines.total is not None) or (
                what == "ready" and deadlines.queue is not None and before[0] == "queued"
            ):
                assert task.state == "failed"
            elif what == "start" and deadlines.attempt is not None and before[0] == "running":
                assert (task.state, task.epoch) != before

    @precondition(lambda self: any(task.policy.limit_keys for task in self.tasks))
    @rule(key=st.sampled_from(KEYS))
    def limit_opens(self, key: str) -> None:
        statement = (
            "UPDATE limits SET full_time = now(), paused_until = now(), due_time = now()"
            " WHERE key = :key"
        )
        self.do(self.steps.step(self.engine.execute(statement, key=key)))

    async def pass_by(self, task_id: UUID, change: str) -> None:
        statement = f"UPDATE tasks SET {change}, due_time = now() WHERE id = :id"  # noqa: S608
        await self.engine.execute(statement, id=task_id)

    async def lease_ends(self, task_id: UUID) -> None:
        statement = (
            "UPDATE tasks SET lease_time = now() - interval '1 s', due_time = now()"
            " WHERE id = :id AND state = 'running'"
        )
        await self.engine.execute(statement, id=task_id)
