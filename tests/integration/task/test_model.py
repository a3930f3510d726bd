"""A stateful model of the engine, on two replicas and a real database.

Each step does something, or several things at once, waits until both replicas have
nothing left to do, replays the log of events against the reference, and looks at
every row. Time passes only where a step moves it.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from meshkit.errors import DomainError
from meshkit.testing.databases import Databases
from services.task.domain.reports import (
    Alive,
    Completed,
    Failed,
    Outcome,
    Paused,
    Released,
    Stopped,
)
from services.task.domain.task import Progress, TaskError
from services.task.engine.operations.steer import Cancel, Changed, Resume, TryNow, Update
from tests.integration.task.model_engine import TENANT
from tests.integration.task.model_machine import NUMBERS, ROOMS, Machine, there_is
from tests.integration.task.model_reference import ENDS, Known
from tests.integration.task.model_wishes import KEYS, new_tasks, relatives

# More finds more: `tox -e soak` takes ten minutes.
SECONDS = float(os.environ.get("MODEL_SECONDS", "20"))
EXAMPLES_A_ROUND, STEPS = 5, 30
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


# Not shrunk: whatever failed is told step by step, and a real database makes shrinking slow.
_SETTINGS = settings(
    max_examples=EXAMPLES_A_ROUND,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


class Model(Machine):
    """The engine beside its reference."""

    # Agents' reports.

    @precondition(there_is("running"))
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
            case Failed(retryable=retryable):
                ended = "dead_lettered" if attempt >= task.max_attempts else "scheduled"
                assert task.state == (ended if retryable else "failed")
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

    # Callers.

    def ask(self, room: int, operation: Any) -> Any:
        return self.do(self.steps.step(self.engine.rooms[room].writer.do(operation)))[0]

    @precondition(lambda self: self.tasks)
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

    @precondition(there_is("paused"))
    @rule(number=NUMBERS, room=ROOMS, reject=st.booleans())
    def answer(self, number: int, room: int, reject: bool) -> None:
        if task := self.some(number):
            state = task.state
            answer = self.ask(room, Resume(TENANT, task.id, b"so", reject))
            assert isinstance(answer, DomainError) == (state != "paused")
            if state == "paused":
                assert task.state in (["failed"] if reject else ["queued", "running"])

    @precondition(lambda self: self.tasks)
    @rule(number=NUMBERS, room=ROOMS)
    def try_now(self, number: int, room: int) -> None:
        if task := self.some(number):
            state = task.state
            answer = self.ask(room, TryNow(TENANT, task.id))
            if state != "scheduled":
                assert isinstance(answer, DomainError)
            elif not isinstance(answer, DomainError):
                assert task.state in ("queued", "running")

    @precondition(lambda self: self.tasks)
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

    @precondition(there_is("running"))
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
        wishes = st.one_of(new_tasks(ids), relatives(task.id))
        doings += [
            self.create_doing(data.draw(ROOMS), data.draw(wishes))
            for _ in range(data.draw(st.integers(0, 2)))
        ]
        if data.draw(st.booleans()):
            doings.append(self.lease_ends(task.id))
        doings = data.draw(st.permutations(doings))
        self.do(self.steps.step(*doings))

    @precondition(lambda self: len(self.tasks) > 3)
    @rule(data=st.data())
    def sever(self, data: st.DataObject) -> None:
        """The writers lose their connections while they are asked."""
        ids = [task.id for task in self.tasks]
        wanted = [(data.draw(ROOMS), data.draw(new_tasks(ids))) for _ in range(2)]
        creations = [self.create_doing(*each) for each in wanted]
        self.do(self.steps.step(creations[0], self.engine.sever(), creations[1]))

    @precondition(lambda self: len(self.tasks) > 3)
    @rule(number=ROOMS, data=st.data())
    def restart(self, number: int, data: st.DataObject) -> None:
        """A replica is killed while it is asked."""
        new = data.draw(new_tasks([task.id for task in self.tasks]))
        self.do(self.steps.step(self.create_doing(number, new), self.steps.restart(number)))


def test_the_engine_is_as_its_reference(databases: Databases) -> None:
    with asyncio.Runner() as runner:
        cloned = databases.cloned("task")
        Model.runner, Model.database = runner, runner.run(cloned.__aenter__())
        # Rounds of new examples, as many as there is time for on this machine.
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                run_state_machine_as_test(Model, settings=_SETTINGS)
        finally:
            runner.run(cloned.__aexit__(None, None, None))
