"""What a handler knows of its task, and can say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack

from google.protobuf.struct_pb2 import Value

from agentmesh.errors import TaskPaused
from agentmesh.payloads import from_value, to_value
from agentmesh.resources import Task
from agentmesh.text import clean
from agentmesh.voice import Said, Voice
from mesh.task.v1 import dispatch_service_pb2, task_pb2

if TYPE_CHECKING:
    from agentmesh.client import Client, TaskOptions

_KINDS = {
    "input": task_pb2.TaskPause.KIND_INPUT_REQUIRED,
    "approval": task_pb2.TaskPause.KIND_APPROVAL_REQUIRED,
}


_MOST_DETAILS = 256 << 10
_MOST_COST = 1e12
_MOST_TOKENS = 10**12


class TaskContext:
    """One attempt of one task.

    What `progress`, `output`, `heartbeat` and `usage` are told is on its way when they
    return; they may be awaited, and are to be called without in a plain function.
    """

    __slots__ = ("_assignment", "_task", "_voice")

    def __init__(self, assignment: dispatch_service_pb2.Assignment, voice: Voice) -> None:
        self._assignment = assignment
        self._task = assignment.task
        self._voice = voice

    @property
    def task_id(self) -> str:
        """Id of the task."""
        return self._task.id

    @property
    def capability(self) -> str:
        """What was asked for."""
        return self._task.capability

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        return self._task.attempt

    @property
    def labels(self) -> Mapping[str, str]:
        """The task's labels."""
        return dict(self._task.labels)

    @property
    def task(self) -> Task:
        """All that is known of the task, as it was when the attempt began."""
        return Task.from_proto(self._task)

    @property
    def cancelled(self) -> bool:
        """Whether the task is to stop: its cancellation was asked for, or its lease is lost.

        For plain functions; one that has seen this and then returns or raises, whatever it
        is, has stopped in order. A coroutine gets `asyncio.CancelledError` instead.
        """
        return self._voice.cancelled

    @property
    def checkpoint(self) -> Any:
        """What the last attempt gave with its last `heartbeat`; None if it gave nothing."""
        return from_value(self._assignment.checkpoint)

    @property
    def answered(self) -> bool:
        """Whether the task was paused and has been answered."""
        return self._assignment.HasField("answer")

    @property
    def answer(self) -> Any:
        """The answer that the paused task got; True for an approval, None without one."""
        return from_value(self._assignment.answer)

    @property
    def dependency_results(self) -> dict[str, Any]:
        """What the tasks that it depends on returned, by their ids; of those that succeeded.

        Of more than 1 MiB together the largest are left out, as is what is no JSON value:
        `client.get_task` has them.
        """
        results = self._assignment.dependency_results
        return {task_id: from_value(value) for task_id, value in results.items()}

    @property
    def deadline(self) -> datetime | None:
        """When the attempt or the task runs out of time, by the database's clock."""
        seconds = self._seconds_at_start()
        start = self.task.start_time
        return None if seconds is None or start is None else start + timedelta(seconds=seconds)

    @property
    def seconds_left(self) -> float | None:
        """How long the attempt may still take, by this machine's clock; None is without bound."""
        seconds = self._seconds_at_start()
        return None if seconds is None else seconds - self._voice.seconds_since_start()

    @property
    def client(self) -> Client:
        """A client on the agent's own connection, with its credential."""
        return self._voice.client()

    def progress(self, fraction: float, message: str = "") -> Said:
        """Report how far the task has come, 0 to 1, and in words.

        Of reports in quick succession the last one counts. A sign of life.

        Raises:
            ValueError: The fraction is not a finite number.
        """
        if not math.isfinite(fraction):
            raise ValueError(f"a task is done to a share of 0 to 1, not {fraction}")
        return self._voice.progress(min(max(fraction, 0.0), 1.0), message)

    def output(self, data: str | bytes, *, content_type: str = "") -> Said:
        """Stream output to those who watch the task, in pieces of 256 KiB at most.

        Each piece arrives at least once: a connection that breaks may repeat one. Output
        that is made faster than it can be sent waits, at its await; in a plain function,
        at the call. A sign of life.

        Args:
            data: Text, or bytes.
            content_type: Media type; for text it is `text/plain; charset=utf-8` if none is
                given, for bytes `application/octet-stream`.
        """
        content_type = clean(content_type, 128)
        if isinstance(data, str):
            return self._voice.output(data.encode("utf-8", "replace"), content_type)
        return self._voice.output(data, content_type or "application/octet-stream")

    def heartbeat(self, details: Any = None) -> Said:
        """Give a sign of life, and what the next attempt is to get as its `checkpoint`.

        Of heartbeats in quick succession the last details count. None leaves those that
        were given before.

        Raises:
            ValueError: The details are larger than 256 KiB of JSON.
        """
        beat = dispatch_service_pb2.TaskHeartbeat()
        if details is not None:
            beat.checkpoint.CopyFrom(_bounded(details, "the details of a heartbeat"))
        return self._voice.heartbeat(beat)

    def usage(self, *, tokens: int = 0, cost: float = 0.0) -> Said:
        """Add to what the task has used, for its budget and its figures. A sign of life.

        Raises:
            ValueError: It is less than nothing, or more than anybody can use.
        """
        if not (0 <= tokens <= _MOST_TOKENS and 0 <= cost <= _MOST_COST):
            raise ValueError(f"nobody can use {tokens} tokens at a cost of {cost}")
        beat = dispatch_service_pb2.TaskHeartbeat()
        beat.usage.tokens, beat.usage.cost = tokens, cost
        return self._voice.heartbeat(beat)

    def pause(
        self, prompt: str, *, kind: Literal["input", "approval"] = "input", details: Any = None
    ) -> NoReturn:
        """Hand the task back until it is answered.

        Doesn't return: it raises `TaskPaused`, which isn't an `Exception` and is to be let
        through. Once `Client.resume_task` or `Client.approve_task` has answered, a handler,
        here or elsewhere, starts again from its beginning, in the same attempt:

            if not context.answered:
                context.pause("Which account?")
            account = context.answer

        A rejected approval fails the task. What is to be kept meanwhile goes into a
        `heartbeat` before.

        Args:
            prompt: The question, in words.
            kind: Whether input is wanted, or a yes or no.
            details: What the answer should look like, or whatever else helps to give it.
        """
        pause = task_pb2.TaskPause(kind=_KINDS[kind], prompt=clean(prompt, 8192))
        if details is not None:
            pause.details.CopyFrom(_bounded(details, "the details of a pause"))
        raise TaskPaused(pause)

    async def create_child(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        key: str = "",
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create a task as a child of this one: it is cancelled with it, on the same budget.

        Args:
            capability: As for `Client.create_task`.
            input: As for `Client.create_task`.
            key: Names the child among those of this task: another attempt that creates a
                child of the same key and input gets the one that there is. Without a key,
                each attempt makes its own.
            **options: As for `Client.create_task`.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        return await self.client.create_task(capability, input, **self._of_child(key, options))

    async def run_child(
        self,
        capability: str,
        input: Any = None,  # noqa: A002 - the contract's word
        *,
        key: str = "",
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create a child, wait for its end, and return it succeeded; see `create_child`.

        Raises:
            TaskFailed: It failed, was cancelled or given up.
            MeshError: The mesh refuses it or can't be reached.
        """
        return await self.client.run_task(capability, input, **self._of_child(key, options))

    def _of_child(self, key: str, options: TaskOptions) -> TaskOptions:
        child: TaskOptions = {**options, "parent": self.task_id}
        if key:
            child["request_id"] = f"{self.task_id}/{key}"
        return child

    def _seconds_at_start(self) -> float | None:
        task, bounds = self._task, []
        if task.deadlines.HasField("attempt"):
            bounds.append(task.deadlines.attempt.ToNanoseconds() / 1e9)
        if task.deadlines.HasField("total"):
            passed = task.start_time.ToNanoseconds() - task.create_time.ToNanoseconds()
            bounds.append((task.deadlines.total.ToNanoseconds() - passed) / 1e9)
        return min(bounds, default=None)


def _bounded(details: Any, what: str) -> Value:
    value = to_value(details)
    if value.ByteSize() > _MOST_DETAILS:
        raise ValueError(f"{what} have {value.ByteSize()} bytes; at most {_MOST_DETAILS} fit")
    return value
