"""Where a watch begins is told at once, so that nothing is missed if it breaks before an event."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mesh.task.v1 import task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores, replica
from tests.integration.task.calls import cancel, create
from tests.integration.task.conftest import open_channel
from tests.integration.task.test_retention import AT_ONCE, is_gone, keeping
from tests.integration.task.test_watch_many import seen, watching
from tests.waiting import until_true

pytestmark = pytest.mark.usefixtures("known")


async def beginning(caller: TaskServiceStub, **wanted: Any) -> str:
    """Begin a watch, and end it before there is an event; return where it began."""
    call = caller.WatchTasks(task_service_pb2.WatchTasksRequest(**wanted))
    try:
        return str(dict(await call.initial_metadata())["agentmesh-offset"])
    finally:
        call.cancel()


async def test_a_watch_goes_on_from_where_it_began(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    await create(caller)
    offset = await beginning(caller)
    missed = (await create(caller)).id
    async with (
        replica(stores, tokens) as second,
        open_channel(second, tokens, "acme") as elsewhere,
        watching(TaskServiceStub(elsewhere), after_offset=offset) as resumed,
    ):
        await cancel(caller, missed)
        assert seen(await resumed.take(2)) == [(missed, 1), (missed, 2)]
    assert await beginning(caller, after_offset=offset) == offset


async def test_a_watch_of_a_tree_goes_on_from_its_beginning(caller: TaskServiceStub) -> None:
    root = (await create(caller)).id
    offset = await beginning(caller, root_id=root)
    await cancel(caller, root)
    async with watching(caller, root_id=root, after_offset=offset) as resumed:
        assert seen(await resumed.rest()) == [(root, 1), (root, 2)]


async def test_a_watch_begins_after_all_that_was_deleted(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    offset = await beginning(caller)
    gone = (await create(caller)).id
    await cancel(caller, gone)
    async with keeping(stores, tokens, keep_cancelled=AT_ONCE):
        await until_true(lambda: is_gone(stores, gone))
    with refusal(grpc.StatusCode.FAILED_PRECONDITION, "OFFSET_EXPIRED", "after_offset"):
        async for _ in caller.WatchTasks(task_service_pb2.WatchTasksRequest(after_offset=offset)):
            pass
    offset = await beginning(caller)
    kept = (await create(caller)).id
    async with watching(caller, after_offset=offset) as resumed:
        assert seen(await resumed.take(1)) == [(kept, 1)]
