"""Updates of tasks, from messages."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mesh.task.v1 import task_service_pb2
from meshkit.errors import InvalidArgument
from meshkit.timestamps import from_timestamp
from services.task.convert.tasks import attributes_from_proto
from services.task.engine.operations.steer import Changed, Update

_FIELDS: Final = (
    "priority", "labels", "attributes", "max_attempts", "schedule_time", "expire_time",
)  # fmt: skip


def update_from_proto(request: task_service_pb2.UpdateTaskRequest, tenant: str) -> Update:
    """Decode an update.

    Raises:
        InvalidArgument: It names no task, or a field that can't be changed.
    """
    task = request.task
    paths = set(request.update_mask.paths)
    try:
        task_id = UUID(task.id)
    except ValueError as error:
        raise InvalidArgument("Name the task by its id.", field="task.id") from error
    for path in sorted(paths):
        if path not in _FIELDS:
            raise InvalidArgument(
                f"{path!r} can't be changed; what can is {', '.join(_FIELDS)}.",
                field="update_mask",
            )
    if "max_attempts" in paths and not task.max_attempts:
        raise InvalidArgument("A task has at least one attempt.", field="task.max_attempts")
    if "schedule_time" in paths and not task.HasField("schedule_time"):
        raise InvalidArgument("Say when the task is to start.", field="task.schedule_time")
    values = Changed(
        priority=task.priority if "priority" in paths else None,
        labels=dict(task.labels) if "labels" in paths else None,
        attributes=attributes_from_proto(task.attributes) if "attributes" in paths else None,
        max_attempts=task.max_attempts if "max_attempts" in paths else None,
        schedule_time=from_timestamp(task, "schedule_time", path="task.schedule_time")
        if "schedule_time" in paths
        else None,
        expires="expire_time" in paths,
        expire_time=from_timestamp(task, "expire_time", path="task.expire_time"),
    )
    return Update(tenant, task_id, task.etag, values)
