"""What a handler's signature says of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from agentmesh import Agent, TaskContext, TaskFailed
from agentmesh.handlers import Handler, handler_of


@dataclass
class Point:
    x: int
    y: int = 0


def handler(function: Any) -> Handler:
    return handler_of(function, "some.thing", "", "")


CONTEXT = TaskContext("id", "some.thing", 1, {}, lambda _fraction, _message: None)


async def test_the_input_is_made_what_the_annotation_says() -> None:
    def take(point: Point) -> Point:
        return point

    assert await handler(take).run(CONTEXT, {"x": "3"}) == Point(3, 0)


async def test_a_context_comes_first_if_it_is_wanted() -> None:
    async def both(context: TaskContext, data: dict[str, int]) -> tuple[str, dict[str, int]]:
        return context.task_id, data

    async def neither() -> str:
        return "nothing"

    assert await handler(both).run(CONTEXT, {"a": 1}) == ("id", {"a": 1})
    assert await handler(neither).run(CONTEXT, {"a": 1}) == "nothing"


async def test_a_plain_function_does_not_hold_up_the_loop() -> None:
    def here() -> int:
        return threading.get_ident()

    assert await handler(here).run(CONTEXT, {}) != threading.get_ident()


async def test_an_input_that_does_not_fit_is_final_and_names_its_fields() -> None:
    def take(point: Point) -> Point:
        return point

    with pytest.raises(TaskFailed, match="x: Field required; y: ") as refused:
        await handler(take).run(CONTEXT, {"y": "far"})
    assert (refused.value.type, refused.value.retryable) == ("InvalidInput", False)


def test_too_many_parameters_are_refused_at_once() -> None:
    def too_many(context: TaskContext, one: int, two: int) -> None: ...

    with pytest.raises(TypeError, match="takes one, two"):
        handler(too_many)


def test_a_capability_has_one_handler() -> None:
    agent = Agent("twice")
    agent.task("some.thing")(lambda: None)
    with pytest.raises(ValueError, match="already"):
        agent.task("some.thing")(lambda: None)


def test_an_agent_without_handlers_does_not_run() -> None:
    with pytest.raises(ValueError, match="no handlers"):
        Agent("idle", url="http://127.0.0.1:1", api_key="x").run()
