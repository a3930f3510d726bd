"""The client: create tasks, wait for them, watch them, steer them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from agentmesh.blobs import Blobs
from agentmesh.client.bulk import Bulk, BulkHandle
from agentmesh.client.caller import Caller
from agentmesh.client.creating import Creating
from agentmesh.client.creation_stream import CreationStream
from agentmesh.client.fleet import Fleet
from agentmesh.client.new_task import NewTask, TaskOptions
from agentmesh.client.queues import Queues
from agentmesh.client.steering import Steering, TaskChanges
from agentmesh.client.watching import Watching
from agentmesh.connection import Connection
from mesh.task.v1 import queue_service_pb2_grpc, task_service_pb2_grpc

__all__ = ["BulkHandle", "Client", "NewTask", "TaskChanges", "TaskOptions"]


class Client(Creating, Steering, Watching, Bulk, Queues, Fleet):
    """Talks to a mesh for an application.

        async with Client() as client:
            task = await client.run_task("text.greet", {"name": "Ada"})
            print(task.result)

    Calls that a retry can't harm are repeated while the mesh is briefly away; a
    creation carries a request id, so it is one of them.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        """Choose the mesh; see `Connection.resolve` for what holds without arguments.

        Args:
            url: Of the mesh.
            api_key: The credential.
            connection: Both of these in one.
        """
        self._connection = connection or Connection.resolve(url, api_key)

    async def __aenter__(self) -> Self:
        """Open the channel."""
        return self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel."""
        await self.close()

    @property
    def blobs(self) -> Blobs:
        """The mesh's store of large data, for those who want to use it by themselves."""
        return self._caller.blobs

    def open(self) -> Self:
        """Open the channel, for those who `close` it themselves; within a running event loop."""
        channel = self._channel = self._connection.channel()
        self._caller = Caller(channel, self._connection.metadata)
        self._creations = CreationStream(self._caller)
        self._tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        self._queues = queue_service_pb2_grpc.QueueServiceStub(channel)
        return self

    async def close(self) -> None:
        """Refuse what isn't answered yet, and close the channel."""
        await self._creations.close()
        await self._channel.close()
