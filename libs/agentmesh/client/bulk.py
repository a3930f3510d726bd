"""Doing one thing to many tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from agentmesh.client.caller import Caller
from agentmesh.ids import new_id
from agentmesh.resources import BulkOperation
from mesh.task.v1 import bulk_service_pb2, bulk_service_pb2_grpc

_LOOK_SECONDS: Final = (0.1, 2.0)

Action = bulk_service_pb2.BulkOperation.Action


class BulkHandle:
    """An operation on many tasks that was started; it goes on by itself in the mesh.

    operation = await client.bulk_cancel('labels.team = "red"')
    async for state in operation.progress():
        print(state.done, "of", state.total)
    """

    def __init__(self, caller: Caller, operation: BulkOperation) -> None:
        self._caller = caller
        self._stub = bulk_service_pb2_grpc.BulkServiceStub(caller.channel)
        self.operation = operation

    @property
    def id(self) -> str:
        """Its id, for `Client.bulk_operation`."""
        return self.operation.id

    async def refresh(self) -> BulkOperation:
        """Return how far it is now.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = bulk_service_pb2.GetBulkOperationRequest(bulk_operation_id=self.id)
        message = await self._caller.call(self._stub.GetBulkOperation, request)
        self.operation = BulkOperation.from_proto(message)
        return self.operation

    async def progress(self) -> AsyncIterator[BulkOperation]:
        """Yield how far it is whenever that has changed, to its end.

        Raises:
            MeshError: The mesh can't be reached.
        """
        yield self.operation
        seconds, longest = _LOOK_SECONDS
        while not self.operation.is_over:
            await asyncio.sleep(seconds)
            seconds = min(seconds * 1.5, longest)
            before = self.operation
            if await self.refresh() != before:
                yield self.operation

    async def wait(self) -> BulkOperation:
        """Wait for its end, and return what has been done.

        Raises:
            MeshError: The mesh can't be reached.
        """
        async for _ in self.progress():
            pass
        return self.operation

    async def stop(self) -> BulkOperation:
        """Stop it; what it has done stays done.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = bulk_service_pb2.StopBulkOperationRequest(bulk_operation_id=self.id)
        message = await self._caller.call(self._stub.StopBulkOperation, request)
        self.operation = BulkOperation.from_proto(message)
        return self.operation


class Bulk:
    """The part of a client that does one thing to many tasks."""

    _caller: Caller

    async def bulk_cancel(self, filter: str) -> BulkHandle:  # noqa: A002 - the contract's word
        """Cancel the tasks that a filter matches and that haven't ended.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        return await self._start(Action.ACTION_CANCEL, filter)

    async def bulk_retry(self, filter: str) -> BulkHandle:  # noqa: A002 - the contract's word
        """Run again, as copies, failed and dead-lettered tasks; queue those that wait to.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        return await self._start(Action.ACTION_RETRY, filter)

    async def bulk_replay(self, filter: str) -> BulkHandle:  # noqa: A002 - the contract's word
        """Run again, as copies, tasks that have ended, however.

        Raises:
            MeshError: The filter can't be read, or the mesh can't be reached.
        """
        return await self._start(Action.ACTION_REPLAY, filter)

    async def bulk_operation(self, operation_id: str) -> BulkHandle:
        """Return an operation that was started before.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        stub = bulk_service_pb2_grpc.BulkServiceStub(self._caller.channel)
        request = bulk_service_pb2.GetBulkOperationRequest(bulk_operation_id=operation_id)
        message = await self._caller.call(stub.GetBulkOperation, request)
        return BulkHandle(self._caller, BulkOperation.from_proto(message))

    async def list_bulk_operations(self) -> AsyncIterator[BulkOperation]:
        """Yield the operations, the newest first.

        Raises:
            MeshError: The mesh can't be reached.
        """
        stub = bulk_service_pb2_grpc.BulkServiceStub(self._caller.channel)
        token = ""
        while True:
            request = bulk_service_pb2.ListBulkOperationsRequest(page_token=token)
            page = await self._caller.call(stub.ListBulkOperations, request)
            for operation in page.operations:
                yield BulkOperation.from_proto(operation)
            token = page.next_page_token
            if not token:
                return

    async def _start(self, action: Action.ValueType, filter_: str) -> BulkHandle:
        operation = bulk_service_pb2.BulkOperation(action=action, filter=filter_)
        request = bulk_service_pb2.StartBulkOperationRequest(
            operation=operation, request_id=new_id()
        )
        stub = bulk_service_pb2_grpc.BulkServiceStub(self._caller.channel)
        message = await self._caller.call(stub.StartBulkOperation, request)
        return BulkHandle(self._caller, BulkOperation.from_proto(message))
