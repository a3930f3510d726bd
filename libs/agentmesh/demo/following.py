"""Submit the steps of the script and follow each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from textwrap import shorten
from typing import Final

from agentmesh.client import Client
from agentmesh.demo.headlines import headline
from agentmesh.demo.script import Step
from agentmesh.errors import MeshError
from agentmesh.resources import Task, TaskEvent

END_SECONDS: Final = 60.0
CALLING_OFF_SECONDS: Final = 5.0

Observer = Callable[[Step, TaskEvent], None]
"""Is told of each change of each task as it happens."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step and its task at the end."""

    step: Step
    task: Task

    @property
    def difference(self) -> str:
        """Say how the end differs from the one in the script; nothing if it doesn't."""
        if not self.task.is_done:
            return f"is still {self.task.state} after {END_SECONDS:.0f} s"
        wanted, said = self.step.end, headline(self.task)
        if self.task.state != wanted.state:
            return f"ended {self.task.state}, not {wanted.state}: {said}"
        if self.task.attempt != wanted.attempts:
            return f"took {self.task.attempt} attempts, not {wanted.attempts}"
        if wanted.says not in said:
            return f"said {shorten(said, 160)!r}, without {wanted.says!r}"
        return ""


async def run_steps(client: Client, steps: Sequence[Step], observer: Observer) -> list[Outcome]:
    """Submit all steps and follow them together; those that don't end in time are called off.

    Raises:
        MeshError: The mesh refuses a step or stays away.
    """
    created: list[Task] = []
    following: list[asyncio.Task[Outcome]] = []
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                task = await _create(client, step, created)
                following.append(group.create_task(_follow(client, step, task, observer)))
        return [each.result() for each in following]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        ended = {each.result().task.id for each in following if _has_ended(each)}
        await _call_off(client, [task.id for task in created if task.id not in ended])


async def _create(client: Client, step: Step, created: list[Task]) -> Task:
    """Submit a step and note its task, even if cancelled meanwhile: the mesh may have it."""

    async def create() -> Task:
        task = await client.create_task(step.capability, step.input)
        created.append(task)
        return task

    creating = asyncio.create_task(create())
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        await asyncio.wait([creating], timeout=CALLING_OFF_SECONDS)
        raise


async def _follow(client: Client, step: Step, task: Task, observer: Observer) -> Outcome:
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS), aclosing(client.watch_task(task.id)) as events:
            async for event in events:
                observer(step, event)
                if _is_to_be_cancelled(step, event.task):
                    await _cancel(client, task.id)
    return Outcome(step, await client.get_task(task.id))


def _is_to_be_cancelled(step: Step, task: Task) -> bool:
    if step.cancel_at is None or task.progress is None or task.is_done:
        return False
    return task.progress.fraction >= step.cancel_at


async def _cancel(client: Client, task_id: str) -> None:
    try:
        await client.cancel_task(task_id)
    except MeshError as error:
        # It has ended otherwise, which its outcome tells.
        if error.code != "FAILED_PRECONDITION":
            raise


def _has_ended(following: asyncio.Task[Outcome]) -> bool:
    if not following.done() or following.cancelled() or following.exception():
        return False
    return following.result().task.is_done


async def _call_off(client: Client, task_ids: Sequence[str]) -> None:
    """Leave nothing in the queue that only the demo's agents would do."""
    with suppress(MeshError, TimeoutError):
        async with asyncio.timeout(CALLING_OFF_SECONDS):
            for task_id in task_ids:
                await _cancel(client, task_id)
