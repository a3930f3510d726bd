"""agentmesh, on its own stack: `single`, `unary` or `bulk`, by `gateway` or `direct`."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agentmesh import Client
from agentmesh.connection import Connection
from bench.agents import Fleet
from bench.peers.protocol import Create, Job, measure, spread
from mesh.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

AGENTS = 10
SLOTS = 20
PROCESSES = 2
BATCH = 100
BATCHES_IN_FLIGHT = 4
PAGE = 1000


async def main(job: Job) -> None:
    """Measure."""
    way, route = job.variant.split("-")
    direct = route == "direct"
    capability = f"bench.{uuid.uuid4().hex}"
    url = f"http://{job.server['task']}" if direct else job.server["gateway"]
    fleet = Fleet(job.server, capability, direct, tally=job.tally, slots=SLOTS)
    connection = Connection(url, job.server["admin_key"])
    async with fleet.running(AGENTS, PROCESSES), connection.channel() as channel:
        tasks = Tasks(task_service_pb2_grpc.TaskServiceStub(channel), connection, capability)
        if way == "bulk" and not tasks.has_batches:
            sys.exit("not available: this mesh has no BatchCreateTasks")
        async with _creating(way, tasks, job.in_flight) as create:
            await measure(
                job, create, tasks.recorded, processes=PROCESSES, verified=tasks.succeeded
            )


class Tasks:
    """The tasks of one run, by raw stubs; its stub is untyped, for not all meshes have batches."""

    def __init__(self, stub: Any, connection: Connection, capability: str) -> None:
        self.connection = connection
        self.capability = capability
        self._stub = stub
        self._created = 0

    async def create(self) -> None:
        """Create one."""
        await self._call(self._stub.CreateTask, self._request())
        self._created += 1

    async def create_by_sdk(self, client: Client) -> None:
        """Create one as an application does."""
        await client.create_task(self.capability)
        self._created += 1

    async def create_batch(self) -> None:
        """Create a batch by one call."""
        requests = [self._request() for _ in range(BATCH)]
        message: Any = getattr(task_service_pb2, "BatchCreateTasksRequest")  # noqa: B009 - as above
        response = await self._call(self._stub.BatchCreateTasks, message(requests=requests))
        assert len(response.results) == BATCH
        self._created += BATCH

    @property
    def has_batches(self) -> bool:
        """Tell whether the contract has batches."""
        return hasattr(self._stub, "BatchCreateTasks")

    async def recorded(self) -> int:
        """Return how many were created once none is unfinished, else 0; cheap to ask."""
        for state in ("QUEUED", "RUNNING"):
            if (await self._list(state, 1)).tasks:
                return 0
        return self._created

    async def succeeded(self) -> int:
        """Count those recorded as succeeded, page by page."""
        page = await self._list("SUCCEEDED", PAGE)
        count = len(page.tasks)
        while page.next_page_token:
            page = await self._list("SUCCEEDED", PAGE, page.next_page_token)
            count += len(page.tasks)
        return count

    def _request(self) -> task_service_pb2.CreateTaskRequest:
        return task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability=self.capability))

    async def _list(self, state: str, size: int, token: str = "") -> Any:
        wanted = f'state = {state} AND capability = "{self.capability}"'
        request = task_service_pb2.ListTasksRequest(page_size=size, page_token=token, filter=wanted)
        return await self._call(self._stub.ListTasks, request)

    async def _call(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.connection.metadata)


@asynccontextmanager
async def _creating(way: str, tasks: Tasks, in_flight: int) -> AsyncIterator[Create]:
    if way == "unary":
        yield lambda count: spread(count, in_flight, tasks.create)
    elif way == "bulk":
        yield lambda count: spread(count // BATCH, BATCHES_IN_FLIGHT, tasks.create_batch)
    else:
        async with Client(tasks.connection.url, tasks.connection.api_key) as client:
            yield lambda count: spread(count, in_flight, partial(tasks.create_by_sdk, client))


if __name__ == "__main__":
    asyncio.run(main(Job.from_environment()))
