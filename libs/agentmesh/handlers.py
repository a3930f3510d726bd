"""Handlers: the functions of an agent that do tasks, with their input typed by annotation."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter, ValidationError

from agentmesh.errors import TaskFailed
from agentmesh.task_context import TaskContext
from agentmesh.threads import in_thread

Function = Callable[..., Any]

INVALID_INPUT: Final = "InvalidInput"
"""Type of the error of a task whose input does not fit its handler."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that does the tasks of one capability.

    It takes the input, typed by its annotation (a pydantic model, dataclass,
    TypedDict or plain `dict`), and before it, if it likes, a `TaskContext`. A plain
    function runs in a thread.
    """

    capability: str
    version: str
    description: str
    function: Function
    wants_context: bool
    input_type: TypeAdapter[Any] | None

    async def run(self, context: TaskContext, data: dict[str, Any]) -> Any:
        """Do a task.

        Raises:
            TaskFailed: The input does not fit; no use in trying again.
        """
        arguments: list[Any] = [context] if self.wants_context else []
        if self.input_type is not None:
            arguments.append(_validated(self.input_type, data))
        if inspect.iscoroutinefunction(self.function):
            coroutine: Awaitable[Any] = self.function(*arguments)
            return await coroutine
        return await in_thread(self.function, *arguments)


def handler_of(function: Function, capability: str, version: str, description: str) -> Handler:
    """Make a handler of a function by looking at its parameters.

    Raises:
        TypeError: It takes more than a context and an input.
    """
    hints = get_type_hints(function)
    names = list(inspect.signature(function).parameters)
    wants_context = bool(names) and hints.get(names[0]) is TaskContext
    rest = names[1:] if wants_context else names
    if len(rest) > 1:
        raise TypeError(
            f"{function.__qualname__} takes {', '.join(rest)}: a handler takes one input,"
            " and before it a TaskContext if it likes"
        )
    return Handler(
        capability=capability,
        version=version,
        description=description or inspect.getdoc(function) or "",
        function=function,
        wants_context=wants_context,
        input_type=TypeAdapter(hints.get(rest[0], dict[str, Any])) if rest else None,
    )


def _validated(input_type: TypeAdapter[Any], data: dict[str, Any]) -> Any:
    try:
        return input_type.validate_python(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'input'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise TaskFailed(problems, type=INVALID_INPUT) from None
