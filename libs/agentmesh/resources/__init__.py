"""What the client returns: plain, frozen Python values."""

from agentmesh.resources.bulk import BulkOperation
from agentmesh.resources.figures import Overview, Totals
from agentmesh.resources.fleet import AgentInfo, BuildRouting, ConnectionInfo, NewApiKey
from agentmesh.resources.history import Attempt, Output, TaskEvent
from agentmesh.resources.queues import Pause, Queue
from agentmesh.resources.task_parts import (
    PauseRequest,
    PayloadInfo,
    Progress,
    TaskError,
    TaskPolicy,
    Usage,
)
from agentmesh.resources.tasks import Task

__all__ = [
    "AgentInfo",
    "Attempt",
    "BuildRouting",
    "BulkOperation",
    "ConnectionInfo",
    "NewApiKey",
    "Output",
    "Overview",
    "Pause",
    "PauseRequest",
    "PayloadInfo",
    "Progress",
    "Queue",
    "Task",
    "TaskError",
    "TaskEvent",
    "TaskPolicy",
    "Totals",
    "Usage",
]
