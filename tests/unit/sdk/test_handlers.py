"""What a handler's signature says of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from agentmesh import Agent, Content, TaskContext, TaskFailed
from agentmesh.handlers import Handler, handler_of
from mesh.task.v1 import dispatch_service_pb2, task_pb2


@dataclass
class Point:
    x: int
    y: int = 0


def handler(function: Any) -> Handler:
    return handler_of(function, "some.thing", "", "")


TASK = task_pb2.Task(id="id", capability="some.thing", attempt=1)
# Nothing is said in these tests.
CONTEXT = TaskContext(dispatch_service_pb2.Assignment(task=TASK), None)  # type: ignore[arg-type]


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


async def test_a_plain_object_is_handed_over_as_it_is() -> None:
    async def take(data: dict[str, Any]) -> dict[str, Any]:
        return data

    given = {"a": [1]}
    assert await handler(take).run(CONTEXT, given) is given


async def test_any_json_can_be_an_input() -> None:
    async def take(numbers: list[int]) -> int:
        return sum(numbers)

    assert await handler(take).run(CONTEXT, [1, "2"]) == 3


async def test_data_is_taken_as_bytes_or_with_its_type() -> None:
    async def take(data: bytes) -> bytes:
        return data

    async def take_content(content: Content) -> Content:
        return content

    pdf = Content(b"%PDF", "application/pdf")
    assert await handler(take).run(CONTEXT, pdf) == b"%PDF"
    assert await handler(take_content).run(CONTEXT, pdf) is pdf
    assert await handler(take_content).run(CONTEXT, b"x") == Content(b"x")


async def test_data_and_json_are_not_taken_for_each_other() -> None:
    async def take(data: bytes) -> None: ...

    async def take_json(data: dict[str, Any]) -> None: ...

    with pytest.raises(TaskFailed, match="takes bytes"):
        await handler(take).run(CONTEXT, {})
    with pytest.raises(TaskFailed, match="application/pdf; this handler takes JSON"):
        await handler(take_json).run(CONTEXT, Content(b"%PDF", "application/pdf"))


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
