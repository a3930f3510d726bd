"""agentmesh: the SDK for agents and applications, and the `agentmesh` command."""

from agentmesh.agent import Agent
from agentmesh.client import Client
from agentmesh.errors import MeshError, TaskFailed
from agentmesh.task_context import TaskContext

__all__ = ["Agent", "Client", "MeshError", "TaskContext", "TaskFailed"]
