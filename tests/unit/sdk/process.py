"""An agent process without a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentmesh import Agent, Client
from agentmesh.outbox import Entry, Outbox
from agentmesh.running import Running
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2


def no_client() -> Client:
    raise AssertionError("nothing here needs the mesh")


class Process:
    """An agent's tasks, without a stream."""

    def __init__(self, function: Callable[..., Any]) -> None:
        agent = Agent("tester")
        agent.task("some.thing")(function)
        self.outbox = Outbox()
        self.running = Running(agent.handlers, self.outbox, no_client)

    def start(self, *task_ids: str, **more: Any) -> Process:
        """Assign tasks."""
        for task_id in task_ids or ("task-1",):
            task = task_pb2.Task(id=task_id, capability="some.thing", attempt=1)
            self.running.start(dispatch.Assignment(lease=lease(task_id), task=task, **more))
        return self

    async def entries(self) -> list[Entry]:
        """Take what is to be sent next."""
        async with asyncio.timeout(5):
            while not (entries := self.outbox.take()):
                self.outbox.ready.clear()
                await self.outbox.ready.wait()
        return entries

    async def reports(self) -> list[dispatch.Report]:
        """Take the reports to be sent next."""
        return [entry.report for entry in await self.entries()]

    async def ended(self) -> None:
        """Wait until no handler runs."""
        async with asyncio.timeout(5):
            while self.running.leases():
                await asyncio.sleep(0)


def lease(task_id: str) -> dispatch.Lease:
    return dispatch.Lease(task_id=task_id, epoch=1)


def refused(entry: Entry, reason: str) -> dispatch.Receipt:
    return dispatch.Receipt(lease=entry.report.lease, reason=reason, message="no good")


def accepted(entry: Entry) -> dispatch.Receipt:
    return dispatch.Receipt(lease=entry.report.lease, accepted=True)
