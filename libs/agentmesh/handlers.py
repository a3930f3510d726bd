"""Handlers: the functions of an agent that do tasks, with their input typed by annotation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter, ValidationError

from agentmesh.errors import TaskFailed
from agentmesh.payloads import Content
from agentmesh.task_context import TaskContext
from agentmesh.threads import in_thread

Function = Callable[..., Any]
Take = Callable[[Any], Any]
"""Makes of an input what a handler takes."""

INVALID_INPUT: Final = "InvalidInput"
"""Type of the error of a task whose input does not fit its handler."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that does the tasks of one capability.

    It takes the input, typed by its annotation (a pydantic model, dataclass, TypedDict,
    plain `dict`, `bytes` or `Content`), and before it, if it likes, a `TaskContext`. A
    plain function runs in a thread.
    """

    capability: str
    version: str
    description: str
    function: Function
    is_coroutine: bool
    wants_context: bool
    take: Take | None

    async def run(self, context: TaskContext, data: Any) -> Any:
        """Do a task.

        Raises:
            TaskFailed: The input does not fit; no use in trying again.
        """
        arguments: list[Any] = [context] if self.wants_context else []
        if self.take is not None:
            arguments.append(self.take(data))
        if self.is_coroutine:
            return await self.function(*arguments)
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
        is_coroutine=inspect.iscoroutinefunction(function),
        wants_context=wants_context,
        take=_take(hints.get(rest[0], dict[str, Any])) if rest else None,
    )


def _take(type_: Any) -> Take:
    if type_ is Any:
        return lambda data: data
    if type_ is bytes:
        return lambda data: _content(data).data
    if type_ is Content:
        return _content
    adapter: TypeAdapter[Any] = TypeAdapter(type_)
    if type_ in (dict, dict[str, Any]):
        # An object is that already: nothing is to be checked or copied.
        return lambda data: data if type(data) is dict else _validated(adapter, data)
    return lambda data: _validated(adapter, data)


def _content(data: Any) -> Content:
    if isinstance(data, Content):
        return data
    if isinstance(data, bytes):
        return Content(data)
    raise TaskFailed("the input is JSON; this handler takes bytes", type=INVALID_INPUT)


def _validated(adapter: TypeAdapter[Any], data: Any) -> Any:
    if isinstance(data, bytes | Content):
        type_ = data.content_type if isinstance(data, Content) else "bytes"
        raise TaskFailed(f"the input is {type_}; this handler takes JSON", type=INVALID_INPUT)
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'input'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise TaskFailed(problems, type=INVALID_INPUT) from None
