"""Operations that meet in one transaction or on two replicas: what the model once found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest

from meshkit.testing.databases import ServiceDatabase
from services.task.domain.policy import ConcurrencyLimit, Dependency, Policy
from services.task.domain.reports import Completed, Released
from services.task.domain.task import Lease, NewTask
from services.task.engine.operations.steer import Cancel
from tests.integration.task.model_engine import TENANT, Engine
from tests.integration.task.model_reference import Known
from tests.integration.task.model_steps import Steps

PLAIN = NewTask("text.count", b"input", 3)


@pytest.fixture
async def steps(service_database: ServiceDatabase) -> AsyncIterator[Steps]:
    engine = Engine(await service_database("task"))
    await engine.open()
    steps = Steps(engine)
    await steps.step(steps.connect(0, ["text.count"], 1))
    yield steps
    await engine.close()


async def running(steps: Steps) -> tuple[Known, UUID]:
    """Have a task run, and return it with its agent."""
    [made] = await steps.step(steps.create(*await steps.prepare(0, PLAIN)))
    task = steps.reference.tasks[made.id]
    assert task.agent_id is not None
    return task, task.agent_id


async def test_a_task_that_waits_for_one_that_ends_in_the_same_transaction(steps: Steps) -> None:
    task, agent_id = await running(steps)
    policy = Policy(dependencies=(Dependency(task.id),))
    waiting = await steps.prepare(0, replace(PLAIN, policy=policy))
    # Every step ends with the check that nobody waits for what is decided.
    [made, _] = await steps.step(
        steps.create(*waiting), steps.report(0, agent_id, task.lease, Completed(b""))
    )
    assert steps.reference.tasks[made.id].state == "running"


async def test_a_task_that_waits_for_another_too_and_for_one_that_has_just_ended(
    steps: Steps,
) -> None:
    task, agent_id = await running(steps)
    [open_] = await steps.step(
        steps.create(*await steps.prepare(0, replace(PLAIN, capability="text.other")))
    )
    # One that waits for the task already, so that its end is something to settle.
    policy = Policy(dependencies=(Dependency(task.id),))
    await steps.step(steps.create(*await steps.prepare(0, replace(PLAIN, policy=policy))))
    policy = Policy(dependencies=(Dependency(open_.id), Dependency(task.id)))
    waiting = await steps.prepare(0, replace(PLAIN, policy=policy))
    [_, made] = await steps.step(
        steps.report(0, agent_id, task.lease, Completed(b"")), steps.create(*waiting)
    )
    assert steps.reference.tasks[made.id].state == "scheduled"


async def test_a_child_whose_parent_is_cancelled_in_the_same_transaction(steps: Steps) -> None:
    task, _ = await running(steps)
    child = await steps.prepare(0, replace(PLAIN, parent_id=task.id))
    cancel = steps.engine.rooms[0].writer.do(Cancel(TENANT, task.id, 0.0))
    [made, _] = await steps.step(steps.create(*child), cancel)
    assert steps.reference.tasks[made.id].state == "cancelled"


async def test_a_limit_that_two_replicas_hear_of_first(steps: Steps) -> None:
    policy = Policy(concurrency_limits=(ConcurrencyLimit("new", 1),))
    both = [await steps.prepare(room, replace(PLAIN, policy=policy)) for room in (0, 1)]
    # The check of each step counts what runs, waits and is a member.
    await steps.step(*(steps.create(*each) for each in both))
    assert steps.reference.taken("new") == 1


async def test_what_goes_from_hand_to_hand_keeps_its_input(steps: Steps) -> None:
    task, agent_id = await running(steps)
    # The one free seat is that which it leaves; each step checks the input of what is given.
    await steps.step(steps.report(0, agent_id, task.lease, Released()))
    assert (task.state, task.epoch) == ("running", 2)


async def test_a_report_on_a_lease_that_is_lost_is_refused(steps: Steps) -> None:
    task, agent_id = await running(steps)
    lost = task.lease
    await steps.step(steps.report(0, agent_id, lost, Released()))
    [receipt] = await steps.step(steps.report(1, agent_id, lost, Completed(b"late")))
    assert (receipt.lease, receipt.accepted) == (Lease(*lost), False)
    assert task.state == "running"
