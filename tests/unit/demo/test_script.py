"""The script and the sample agents agree, whatever the mesh between them does."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from agentmesh import Agent, TaskContext, TaskFailed
from agentmesh.demo.agents import facts, table, words
from agentmesh.demo.following import Outcome
from agentmesh.demo.script import AGENTS, CAPABILITIES, Step, steps
from agentmesh.handlers import Handler
from agentmesh.payloads import encode_input, from_struct
from agentmesh.resources import Task, TaskError
from mesh.task.v1 import dispatch_service_pb2, task_pb2
from tests.unit.demo.listening import Listening
from tests.unit.demo.tasks import make_task

PROGRAMS = {"demo-facts": facts.agent, "demo-words": words.agent, "demo-table": table.agent}
HANDLERS: dict[str, Handler] = {
    name: handler for agent in PROGRAMS.values() for name, handler in agent.handlers.items()
}


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
    task = make_task("RUNNING", capability=step.capability)
    while not task.is_done:
        task = await _attempt(step, task)
    assert Outcome(step, task).difference == ""


async def _attempt(step: Step, task: Task) -> Task:
    """Do what the mesh would: run the handler, with the input as it comes out of a message."""
    voice = Listening(cancel_at=step.cancel_at)
    context = TaskContext(dispatch_service_pb2.Assignment(task=task.to_proto()), voice)
    message = task_pb2.Task()
    encode_input(message, step.input)
    data = from_struct(message.input)
    if "pause" in data:
        data["pause"] = 0.0
    ended = partial(make_task, capability=step.capability, attempt=task.attempt)
    try:
        result: Any = await HANDLERS[step.capability].run(context, data)
    except TaskFailed as error:
        return ended("FAILED", error=TaskError(error.type, str(error)))
    except ConnectionError:
        return make_task("RUNNING", capability=step.capability, attempt=task.attempt + 1)
    if voice.called_off:
        return ended("CANCELLED", progress=voice.reports[-1])
    return ended("SUCCEEDED", result=result)
