"""Tasks that wait for others to end."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2, task_policy_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.task.agents import HandAgent, connected, done, failed, register
from tests.integration.task.calls import (
    cancel,
    create,
    end_of,
    get,
    later,
    state_of,
    waits_for,
)
from tests.integration.task.conftest import open_channel

Dependency = task_policy_pb2.Dependency
SUCCEEDED, FAILED, ENDED = (
    Dependency.CONDITION_SUCCEEDED,
    Dependency.CONDITION_FAILED,
    Dependency.CONDITION_ENDED,
)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOBODY = "text.other"


def needs(
    *tasks: task_pb2.Task,
    condition: Dependency.Condition.ValueType = Dependency.CONDITION_UNSPECIFIED,
    any_of: bool = False,
) -> task_policy_pb2.Dependencies:
    dependencies = task_policy_pb2.Dependencies
    return dependencies(
        tasks=[Dependency(task_id=task.id, condition=condition) for task in tasks],
        mode=dependencies.MODE_ANY if any_of else dependencies.MODE_UNSPECIFIED,
    )


async def ending(
    caller: TaskServiceStub, agent: HandAgent, *ends: str
) -> tuple[list[task_pb2.Task], list[dispatch.Report]]:
    """Have tasks run, and return them with the reports that end them so."""
    tasks = [await create(caller) for _ in ends]
    leases = {each.task.id: each.lease for each in await agent.take(len(ends))}
    reports = [
        done(leases[task.id], f"result {index}")
        if end == "SUCCEEDED"
        else failed(leases[task.id], retryable=False)
        for index, (task, end) in enumerate(zip(tasks, ends, strict=True))
    ]
    return tasks, reports


@dataclass(frozen=True)
class Case:
    """What a task waits for, how the others end, and what becomes of it."""

    condition: Dependency.Condition.ValueType
    any_of: bool
    ends: tuple[str, str]
    wanted: str


CASES = [
    Case(SUCCEEDED, False, ("SUCCEEDED", "SUCCEEDED"), "QUEUED"),
    Case(SUCCEEDED, False, ("SUCCEEDED", "FAILED"), "CANCELLED"),
    Case(SUCCEEDED, True, ("FAILED", "SUCCEEDED"), "QUEUED"),
    Case(SUCCEEDED, True, ("FAILED", "FAILED"), "CANCELLED"),
    Case(FAILED, False, ("FAILED", "FAILED"), "QUEUED"),
    Case(FAILED, False, ("FAILED", "SUCCEEDED"), "CANCELLED"),
    Case(FAILED, True, ("SUCCEEDED", "FAILED"), "QUEUED"),
    Case(ENDED, False, ("FAILED", "SUCCEEDED"), "QUEUED"),
]


@pytest.mark.parametrize("case", CASES)
async def test_a_task_waits_for_others_to_end_as_wanted(
    channel: aio.Channel, caller: TaskServiceStub, case: Case
) -> None:
    await register(channel, "known", [NOBODY])
    async with connected(channel, "text.count", slots=2) as agent:
        others, reports = await ending(caller, agent, *case.ends)
        dependencies = needs(*others, condition=case.condition, any_of=case.any_of)
        task = await create(caller, capability=NOBODY, dependencies=dependencies)
        assert (state_of(task), waits_for(task)) == ("SCHEDULED", "DEPENDENCIES")
        assert task.dependencies.tasks == dependencies.tasks
        await agent.report(*reports)
        after = await get(caller, task.id)
        assert state_of(after) == case.wanted
        assert after.error.type == ("DependencyFailed" if case.wanted == "CANCELLED" else "")
        # The same of others that have ended before.
        late = await create(caller, capability=NOBODY, dependencies=dependencies)
        assert state_of(late) == case.wanted
        assert late.error.type == after.error.type


async def test_the_first_of_any_suffices_and_the_first_of_all_decides(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await register(channel, "known", [NOBODY])
    async with connected(channel, "text.count", slots=2) as agent:
        others, reports = await ending(caller, agent, "SUCCEEDED", "FAILED")
        any_of = await create(caller, capability=NOBODY, dependencies=needs(*others, any_of=True))
        all_of = await create(caller, capability=NOBODY, dependencies=needs(*others))
        await agent.report(reports[1])
        assert state_of(await get(caller, all_of.id)) == "CANCELLED"
        assert state_of(await get(caller, any_of.id)) == "SCHEDULED"
        await agent.report(reports[0])
        assert state_of(await get(caller, any_of.id)) == "QUEUED"


async def test_the_agent_gets_the_results_of_those_that_succeeded(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        others, reports = await ending(caller, agent, "SUCCEEDED", "FAILED")
        await agent.report(*reports)
        dependencies = needs(*others, condition=ENDED)
        early = await create(caller, dependencies=dependencies)
        [assignment] = await agent.take()
        assert assignment.task.id == early.id
        results = {key: value.string_value for key, value in assignment.dependency_results.items()}
        assert results == {others[0].id: "result 0"}
        chained = await create(caller, dependencies=needs(early))
        await agent.report(done(assignment.lease, "early"))
        [assignment] = await agent.take()
        assert assignment.task.id == chained.id
        assert assignment.dependency_results[early.id].string_value == "early"


async def test_of_many_large_results_the_agent_gets_those_that_fit(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    sizes = (500 << 10, 600 << 10, 10, 400 << 10)
    async with connected(channel, "text.count", slots=4) as agent:
        others = [await create(caller) for _ in sizes]
        leases = {each.task.id: each.lease for each in await agent.take(4)}
        waiting = [await create(caller, dependencies=needs(*others)) for _ in range(3)]
        for other, size in zip(others, sizes, strict=True):
            await agent.report(done(leases[other.id], "x" * size))
        for _ in waiting:
            [assignment] = await agent.take()
            given = {
                task_id: len(value.string_value)
                for task_id, value in assignment.dependency_results.items()
            }
            # The largest is left out.
            assert given == {others[n].id: sizes[n] for n in (0, 2, 3)}


@pytest.mark.usefixtures("known")
async def test_cancellation_goes_down_the_chain(caller: TaskServiceStub) -> None:
    first = await create(caller)
    second = await create(caller, dependencies=needs(first))
    third = await create(caller, dependencies=needs(second))
    in_any_case = await create(caller, dependencies=needs(third, condition=ENDED))
    if_it_fails = await create(caller, dependencies=needs(third, condition=FAILED))
    await cancel(caller, first.id)
    states = [state_of(await get(caller, task.id)) for task in (second, third)]
    assert states == ["CANCELLED", "CANCELLED"]
    assert state_of(await get(caller, in_any_case.id)) == "QUEUED"
    # Cancelled is not failed.
    assert state_of(await get(caller, if_it_fails.id)) == "CANCELLED"


@pytest.mark.usefixtures("known")
async def test_both_the_time_and_the_others_are_waited_for(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        [other], reports = await ending(caller, agent, "SUCCEEDED")
        soon = later(0.15)
        task = await create(caller, dependencies=needs(other), schedule_time=soon)
        assert waits_for(task) == "DEPENDENCIES"
        await agent.report(*reports)
        assert waits_for(await get(caller, task.id)) == "TIME"
        [assignment] = await agent.take()
        assert assignment.task.id == task.id
        assert assignment.task.start_time.ToNanoseconds() >= soon.ToNanoseconds()


@pytest.mark.usefixtures("known")
async def test_what_there_is_not_can_not_be_waited_for(caller: TaskServiceStub) -> None:
    unknown = task_pb2.Task(id=str(uuid.uuid4()))
    with refusal(INVALID, "RELATED_TASK_NOT_FOUND", "task.dependencies"):
        await create(caller, dependencies=needs(unknown))
    other = await create(caller)
    with refusal(INVALID, "INVALID_ARGUMENT", "task.dependencies"):
        await create(caller, dependencies=needs(other, other))


async def test_another_tenants_task_is_no_relative(
    small_mesh: RunningReplica, tokens: TokenFactory, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await register(channel, "known", ["text.count"])
    other = await create(caller)
    async with open_channel(small_mesh, tokens, "umbrella") as elsewhere:
        await register(elsewhere, "known", ["text.count"])
        stranger = TaskServiceStub(elsewhere)
        with refusal(INVALID, "RELATED_TASK_NOT_FOUND", "task.dependencies"):
            await create(stranger, dependencies=needs(other))
        with refusal(INVALID, "RELATED_TASK_NOT_FOUND", "task.parent_id"):
            await create(stranger, parent_id=other.id)


async def test_a_task_made_while_another_ends_is_not_left_waiting(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        for _ in range(15):
            [other], reports = await ending(caller, agent, "SUCCEEDED")
            wanted = [create(caller, dependencies=needs(other)) for _ in range(3)]
            made, *_ = await asyncio.gather(
                asyncio.gather(*wanted), agent.report(*reports), asyncio.sleep(0)
            )
            for _ in made:
                [assignment] = await agent.take()
                assert assignment.dependency_results[other.id].string_value == "result 0"
                await agent.report(done(assignment.lease))
            for task in made:
                assert state_of(await end_of(caller, task.id)) == "SUCCEEDED"
