"""agentmesh: the SDK for agents and applications, and the `agentmesh` command."""

from agentmesh.agent import Agent
from agentmesh.client import BulkHandle, Client, NewTask, TaskChanges, TaskOptions
from agentmesh.errors import MeshError, TaskFailed, TaskPaused
from agentmesh.payloads import Content
from agentmesh.policies import (
    Budget,
    ConcurrencyLimit,
    Deadlines,
    Dependency,
    Fairness,
    Placement,
    RateLimit,
    RetryPolicy,
)
from agentmesh.resources import Task, TaskEvent
from agentmesh.task_context import TaskContext

__all__ = [
    "Agent",
    "Budget",
    "BulkHandle",
    "Client",
    "ConcurrencyLimit",
    "Content",
    "Deadlines",
    "Dependency",
    "Fairness",
    "MeshError",
    "NewTask",
    "Placement",
    "RateLimit",
    "RetryPolicy",
    "Task",
    "TaskChanges",
    "TaskContext",
    "TaskEvent",
    "TaskFailed",
    "TaskOptions",
    "TaskPaused",
]
