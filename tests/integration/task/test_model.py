"""A stateful model of the engine, on two replicas and a real database.

Each step does something, or several things at once, waits until both replicas have
nothing left to do, replays the log of events against the reference, and looks at
every row. Time passes only where a step moves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.testing.databases import Databases
from services.task.dispatch.streams import Stream
from services.task.domain.reports import (
    Alive,
    Completed,
    Failed,
    Outcome,
    Paused,
    Released,
    Stopped,
)
from services.task.domain.task import NewTask, Progress, Task, TaskError
from services.task.engine.operations.create import Repeated
from services.task.engine.operations.steer import Cancel, Changed, Resume, TryNow, Update
from tests.integration.task.model_engine import TENANT, Engine
from tests.integration.task.model_reference import ENDS, Known
from tests.integration.task.model_steps import Steps
from tests.integration.task.model_wishes import CAPABILITIES, KEYS, new_tasks

Result = TypeVar("Result")
EXAMPLES, STEPS = 100, 40
PHASES = [Phase.generate]

NUMBERS = st.integers(0, 40)
ROOMS = st.integers(0, 1)
OUTCOMES = st.sampled_from(
    [
        Completed(b"done"),
        Failed(TaskError("Boom", "it went wrong"), retryable=True),
        Failed(TaskError("Boom", "it went wrong"), retryable=False),
        Failed(TaskError("Busy", "later"), retryable=True, retry_after=5000, pause_key=KEYS[0]),
        Released(),
        Paused(b"what now?"),
        Progress(0.5, "half way"),
        Alive(b"here"),
        Stopped(),
    ]
)
ENDED_LEASES = (Completed, Failed, Released, Paused, Stopped)


class Model(RuleBasedStateMachine):
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
            print("\n".join(self.steps.story))
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

    @initialize(agents=st.integers(0, 3))
    def start(self, agents: int) -> None:
        self.do(self.engine.open())
        for number in range(agents):
            self.do(self.steps.step(self.steps.connect(number % 2, CAPABILITIES, 2)))

    @rule(
        room=ROOMS,
        capabilities=st.sampled_from([CAPABILITIES[:1], CAPABILITIES[1:], CAPABILITIES]),
        slots=st.integers(1, 3),
    )
    def connect(self, room: int, capabilities: tuple[str, ...], slots: int) -> None:
        if len(self.engine.streams) < 4:
            self.do(self.steps.step(self.steps.connect(room, capabilities, slots)))

    @rule(number=NUMBERS)
    def disconnect(self, number: int) -> None:
        if stream := self.some_stream(number):
            self.do(self.steps.step(self.steps.disconnect(stream)))

    @rule(number=NUMBERS)
    def leave(self, number: int) -> None:
        if stream := self.some_stream(number):
            self.do(self.steps.step(self.steps.leave(stream)))

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
        [made] = self.do(self.steps.step(self.steps.create(room, new)))
        note(f"{made.id if isinstance(made, Task) else made!r}")
        self.check_made(new, made)

    @rule(data=st.data(), count=st.integers(2, 5))
    def create_many(self, data: st.DataObject, count: int) -> None:
        ids = [task.id for task in self.tasks]
        wanted = [(data.draw(ROOMS), data.draw(new_tasks(ids))) for _ in range(count)]
        made = self.do(self.steps.step(*(self.steps.create(*each) for each in wanted)))
        for (_, new), each in zip(wanted, made, strict=True):
            self.check_made(new, each)

    def check_made(self, new: NewTask, made: Task | Repeated | DomainError) -> None:
        if isinstance(made, Task):
            assert self.steps.reference.tasks[made.id].state
        elif isinstance(made, Repeated):
            assert self.steps.requests[new.request_id] == made.task_id

    # Agents' reports.

    @rule(number=NUMBERS, room=ROOMS, outcome=OUTCOMES)
    def report(self, number: int, room: int, outcome: Outcome) -> None:
        if task := self.some(number, "running"):
            assert task.agent_id is not None
            was_asked, attempt, epoch = task.cancel_asked, task.attempt, task.epoch
            report = self.steps.report(room, task.agent_id, task.lease, outcome)
            [receipt] = self.do(self.steps.step(report))
            assert receipt.accepted
            self.check_reported(task, outcome, attempt, epoch, was_asked=was_asked)

    def check_reported(
        self, task: Known, outcome: Outcome, attempt: int, epoch: int, *, was_asked: bool
    ) -> None:
        if isinstance(outcome, ENDED_LEASES):
            over = (task.state, task.epoch) != ("running", epoch)
            assert over, "the attempt goes on after its last report"
        match outcome:
            case Completed():
                assert task.state == "succeeded"
            case _ if was_asked and isinstance(outcome, ENDED_LEASES):
                assert task.state == "cancelled"
            case Failed(retryable=False):
                assert task.state == "failed"
            case Failed() if attempt >= task.max_attempts:
                assert task.state == "dead_lettered"
            case Failed():
                assert task.state == "scheduled"
            case Paused():
                assert task.state == "paused"
            case Released() | Stopped():
                assert task.state in ("queued", "running")
            case _:
                assert (task.state, task.epoch) == ("running", epoch)

    @precondition(lambda self: self.steps.reference.leases)
    @rule(number=NUMBERS, room=ROOMS, outcome=OUTCOMES, as_other=st.booleans())
    def report_late(self, number: int, room: int, outcome: Outcome, as_other: bool) -> None:
        """A report of any lease that ever was, perhaps by an agent that never had it."""
        leases = self.steps.reference.leases
        task_id, epoch, agent_id = leases[-1 - number % len(leases)]
        agent_id = uuid4() if as_other else agent_id
        task = self.steps.reference.tasks[task_id]
        held = self.steps.reference.holds(task_id, epoch, agent_id)
        last = (task.epoch, task.agent_id) == (epoch, agent_id)
        state = task.state
        report = self.steps.report(room, agent_id, (task_id, epoch), outcome)
        [receipt] = self.do(self.steps.step(report))
        if held or not last:
            assert receipt.accepted == held, "a stale report was taken, or a good one refused"
        elif isinstance(outcome, Completed):
            assert receipt.accepted == (state == "succeeded")
        elif not isinstance(outcome, ENDED_LEASES):
            assert not receipt.accepted

    @precondition(lambda self: self.steps.reference.leases)
    @rule(number=NUMBERS, room=ROOMS)
    def renew(self, number: int, room: int) -> None:
        leases = self.steps.reference.leases
        task_id, epoch, agent_id = leases[-1 - number % len(leases)]
        held = self.steps.reference.holds(task_id, epoch, agent_id)
        renew = self.steps.renew(room, agent_id, [(task_id, epoch)])
        [renewed] = self.do(self.steps.step(renew))
        assert bool(renewed.held) == held
        asked = held and self.steps.reference.tasks[task_id].cancel_asked
        assert bool(renewed.to_stop) == asked

    # Time.

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

    @rule(number=NUMBERS)
    def grace_ends(self, number: int) -> None:
        asked = [task for task in self.tasks if task.cancel_asked]
        if asked:
            task = asked[-1 - number % len(asked)]
            self.do(self.steps.step(self.pass_by(task.id, "cancel_by = now()")))
            assert task.state == "cancelled"

    @rule(number=NUMBERS)
    def time_comes(self, number: int) -> None:
        if task := self.some(number, "scheduled"):
            self.do(self.steps.step(self.pass_by(task.id, "ready_time = now()")))

    @rule(number=NUMBERS, what=st.sampled_from(["create", "start", "seen", "ready"]))
    def deadline_passes(self, number: int, what: str) -> None:
        if task := self.some(number, "queued", "running", "scheduled", "paused"):
            before = (task.state, task.epoch)
            change = f"{what}_time = {what}_time - interval '100 h'"
            self.do(self.steps.step(self.pass_by(task.id, change)))
            deadlines = task.policy.deadlines
            if (what == "create" and deadlines.total is not None) or (what == "ready" and deadlines.queue is not None and before[0] == "queued"):
                assert task.state == "failed"
            elif what == "start" and deadlines.attempt is not None and before[0] == "running":
                assert (task.state, task.epoch) != before

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

    # Callers.

    def ask(self, room: int, operation: Any) -> Any:
        return self.do(self.steps.step(self.engine.rooms[room].writer.do(operation)))[0]

    @rule(number=NUMBERS, room=ROOMS, grace=st.sampled_from([None, 0.0, 50.0]))
    def cancel(self, number: int, room: int, grace: float | None) -> None:
        if task := self.some(number):
            state = task.state
            answer = self.ask(room, Cancel(TENANT, task.id, grace))
            if state in ENDS:
                assert isinstance(answer, DomainError) == (state != "cancelled")
                assert task.state == state
            elif state == "running" and grace != 0:
                assert task.cancel_asked
            else:
                assert task.state == "cancelled"

    @rule(number=NUMBERS, room=ROOMS, reject=st.booleans())
    def answer(self, number: int, room: int, reject: bool) -> None:
        if task := self.some(number):
            state = task.state
            answer = self.ask(room, Resume(TENANT, task.id, b"so", reject))
            assert isinstance(answer, DomainError) == (state != "paused")
            if state == "paused":
                assert task.state in (["failed"] if reject else ["queued", "running"])

    @rule(number=NUMBERS, room=ROOMS)
    def try_now(self, number: int, room: int) -> None:
        if task := self.some(number):
            state = task.state
            answer = self.ask(room, TryNow(TENANT, task.id))
            if state != "scheduled":
                assert isinstance(answer, DomainError)
            elif not isinstance(answer, DomainError):
                assert task.state in ("queued", "running")

    @rule(number=NUMBERS, room=ROOMS, attempts=st.integers(3, 5))
    def update(self, number: int, room: int, attempts: int) -> None:
        if task := self.some(number):
            state, attempts = task.state, max(attempts, task.max_attempts)
            values = Changed(max_attempts=attempts, labels={"team": "red"})
            answer = self.ask(room, Update(TENANT, task.id, "", values))
            if state not in ENDS:
                task.max_attempts = attempts
            assert isinstance(answer, DomainError) == (state in ENDS)

    # Several at once, and what must not matter.

    @rule(number=NUMBERS, room=ROOMS, outcome=OUTCOMES, data=st.data())
    def at_once(self, number: int, room: int, outcome: Outcome, data: st.DataObject) -> None:
        """Reports, a cancellation, a lapse and creations meet, on one writer or on two."""
        task = self.some(number, "running")
        if task is None or task.agent_id is None:
            return
        agent_id, lease, ids = task.agent_id, task.lease, [each.id for each in self.tasks]
        other = data.draw(ROOMS)
        doings: list[Any] = [self.steps.report(room, agent_id, lease, outcome)]
        if data.draw(st.booleans()):
            doings.append(self.steps.report(other, agent_id, lease, Completed(b"again")))
        if data.draw(st.booleans()):
            grace = data.draw(st.sampled_from([0.0, 50.0]))
            cancel = Cancel(TENANT, data.draw(st.sampled_from(ids)), grace)
            doings.append(self.engine.rooms[other].writer.do(cancel))
        for _ in range(data.draw(st.integers(0, 2))):
            doings.append(self.steps.create(data.draw(ROOMS), data.draw(new_tasks(ids))))
        if data.draw(st.booleans()):
            doings.append(self.lease_ends(task.id))
        doings = data.draw(st.permutations(doings))
        self.do(self.steps.step(*doings))

    @rule(data=st.data())
    def sever(self, data: st.DataObject) -> None:
        """The writers lose their connections while they are asked."""
        ids = [task.id for task in self.tasks]
        wanted = [(data.draw(ROOMS), data.draw(new_tasks(ids))) for _ in range(2)]
        creations = [self.steps.create(*each) for each in wanted]
        self.do(self.steps.step(creations[0], self.engine.sever(), creations[1]))

    @rule(number=ROOMS, data=st.data())
    def restart(self, number: int, data: st.DataObject) -> None:
        """A replica is killed while it is asked."""
        new = data.draw(new_tasks([task.id for task in self.tasks]))
        self.do(self.steps.step(self.steps.create(number, new), self.steps.restart(number)))


def test_the_engine_is_as_its_reference(databases: Databases) -> None:
    with asyncio.Runner() as runner:
        cloned = databases.cloned("task")
        Model.runner, Model.database = runner, runner.run(cloned.__aenter__())
        try:
            run_state_machine_as_test(
                Model,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    suppress_health_check=list(HealthCheck),
                    phases=PHASES,
                ),
            )
        finally:
            runner.run(cloned.__aexit__(None, None, None))
