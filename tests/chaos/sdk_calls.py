"""Calls by the SDK, through the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from agentmesh.client import Client, NewTask
from agentmesh.errors import MeshError, TaskFailed
from agentmesh.resources import Task
from tests.chaos.calls import Followed, result_of


class SdkCalls:
    """Calls a mesh as an application does."""

    def __init__(self, url: str, key: str) -> None:
        self._client = Client(url, key).open()

    async def create(self, task: NewTask) -> str:
        """Create a task and return its id."""
        return (await self._client.create_task(task.capability, task.input, **task.options)).id

    async def create_all(self, tasks: Sequence[NewTask]) -> list[str]:
        """Create tasks and return their ids, empty for one that was refused."""
        made = await self._client.create_tasks(tasks, return_exceptions=True)
        for each in made:
            if isinstance(each, MeshError) and result_of(each) == "unknown":
                raise each
        return [each.id if isinstance(each, Task) else "" for each in made]

    async def cancel(self, task_id: str, grace: float | None) -> None:
        """Call a task off."""
        await self._client.cancel_task(task_id, grace=grace)

    async def run(self, task: NewTask) -> Followed:
        """Create a task and wait for its end in one."""
        try:
            ended = await self._client.run_task(task.capability, task.input, **task.options)
        except TaskFailed as failed:
            if failed.task is None:
                raise
            ended = failed.task
        return Followed(ended.id, ended.state.lower())

    async def watch(self, task: NewTask) -> Followed:
        """Create a task and follow its events to its end."""
        task_id, state, sequences = await self.create(task), "", []
        async with aclosing(self._client.watch_task(task_id)) as events:
            async for event in events:
                sequences.append(event.sequence)
                state = event.task.state.lower()
        return Followed(task_id, state, sequences)
