"""Bulk operations are deleted some time after their end."""

from __future__ import annotations

from uuid import UUID

import grpc
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import bulk_service_pb2
from mesh.task.v1.bulk_service_pb2_grpc import BulkServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores
from tests.integration.task.test_bulk import Operation, end, look, start
from tests.integration.task.test_retention import keeping
from tests.waiting import until_true


async def test_those_that_ended_long_ago_go_and_no_others(
    channel: aio.Channel, stores: Stores, tokens: TokenFactory
) -> None:
    bulk = BulkServiceStub(channel)
    ids = [(await start(bulk, Operation.ACTION_CANCEL)).id for _ in range(3)]
    for each in ids:
        await end(bulk, each)
    statement = text("UPDATE bulk_operations SET end_time = now() - interval '2 h' WHERE id = :id")
    for each in ids[:2]:
        await stores.task.transaction(
            lambda connection, each=each: connection.execute(statement, {"id": UUID(each)})  # type: ignore[misc]
        )

    async def one_is_left() -> bool:
        found = await bulk.ListBulkOperations(bulk_service_pb2.ListBulkOperationsRequest())
        return [each.id for each in found.operations] == ids[2:]

    async with keeping(stores, tokens, keep_bulk_operations=3600.0, step=1):
        await until_true(one_is_left)
    with refusal(grpc.StatusCode.NOT_FOUND, "BULK_OPERATION_NOT_FOUND", "bulk_operation_id"):
        await look(bulk, ids[0])
