"""The script and the sample agents agree, whatever the mesh between them does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agentmesh import Agent, TaskContext, TaskFailed
from agentmesh.demo.agents import facts, table, words
from agentmesh.demo.following import Outcome
from agentmesh.demo.script import AGENTS, CAPABILITIES, Step, steps
from agentmesh.handlers import Handler
from agentmesh.payloads import from_struct, from_value, to_struct, to_value
from agentmesh.resources import Progress, Task, TaskError

PROGRAMS = {"demo-facts": facts.agent, "demo-words": words.agent, "demo-table": table.agent}
HANDLERS: dict[str, Handler] = {
    name: handler for agent in PROGRAMS.values() for name, handler in agent.handlers.items()
}
NEW = Task(
    id="0",
    capability="",
    state="RUNNING",
    input={},
    result=None,
    error=None,
    progress=None,
    attempt=1,
    agent_id="1",
    priority=0,
    labels={},
    create_time=datetime(2024, 1, 1, tzinfo=UTC),
    end_time=None,
)


def test_the_cast_is_complete() -> None:
    assert {agent.name for agent in PROGRAMS.values()} == {agent.name for agent in AGENTS}
    for agent in AGENTS:
        assert tuple(PROGRAMS[agent.name].handlers) == agent.capabilities
        assert isinstance(PROGRAMS[agent.name], Agent)
    assert {step.capability for step in steps()} == set(CAPABILITIES)


def test_every_kind_of_end_is_shown() -> None:
    ends = [step.end for step in steps()]
    assert {end.state for end in ends} == {"SUCCEEDED", "FAILED", "CANCELLED"}
    assert max(end.attempts for end in ends) == 2


@pytest.mark.parametrize("step", steps(), ids=lambda step: f"{step.capability}: {step.title}")
async def test_the_agents_end_each_step_as_the_script_says(step: Step) -> None:
    task = replace(NEW, capability=step.capability)
    while not task.is_done:
        task = await _attempt(step, task)
    assert Outcome(step, task).difference == ""


async def _attempt(step: Step, task: Task) -> Task:
    """Do what the mesh would: run the handler, with the input as it comes out of a message."""
    reports: list[Progress] = []
    called_off = asyncio.Event()

    def report(fraction: float, message: str) -> None:
        reports.append(Progress(fraction, message))
        if step.cancel_at is not None and fraction >= step.cancel_at:
            called_off.set()

    context = TaskContext(task.id, task.capability, task.attempt, {}, report)
    data = from_struct(to_struct(step.input))
    if "pause" in data:
        data["pause"] = 0.0
    try:
        result: Any = await HANDLERS[step.capability].run(context, data)
    except TaskFailed as error:
        return replace(task, state="FAILED", error=TaskError(error.type, str(error)))
    except ConnectionError:
        return replace(task, attempt=task.attempt + 1)
    if called_off.is_set():
        return replace(task, state="CANCELLED", progress=reports[-1])
    return replace(task, state="SUCCEEDED", result=from_value(to_value(result)))
