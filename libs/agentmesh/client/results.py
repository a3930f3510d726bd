"""What tasks have come to."""

from __future__ import annotations

from agentmesh.client.caller import Caller
from agentmesh.errors import TaskFailed
from agentmesh.resources import Task


async def with_result(caller: Caller, task: Task) -> Task:
    """Return the task with its result, fetched if it is kept elsewhere.

    Raises:
        MeshError: It is gone, or the mesh can't be reached.
    """
    info = task.result_payload
    if info is None or not info.blob_id:
        return task
    return task.with_result(await caller.blobs.fetch(task.to_proto().result_payload))


def succeeded(task: Task) -> Task:
    """Return a task that succeeded.

    Raises:
        TaskFailed: It ended otherwise.
    """
    if task.state == "SUCCEEDED":
        return task
    if task.error is not None and task.state != "CANCELLED":
        raise TaskFailed(task.error.message, type=task.error.type, task=task)
    words = task.error.message if task.error is not None else task.state.lower().replace("_", "-")
    raise TaskFailed(f"task {task.id} was {words}", type=task.state, task=task)
