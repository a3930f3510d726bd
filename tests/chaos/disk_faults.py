"""A full disk under PostgreSQL, and what must hold of the service meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import Final
from uuid import uuid4

from grpc import StatusCode, aio

from mesh.task.v1 import task_pb2
from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.chaos.connecting import channel_to, credential
from tests.chaos.history import History
from tests.chaos.mesh import ChaosMesh
from tests.chaos.work import CAPABILITY

# Room that is left within files is used up first.
_PATIENCE: Final = 20.0
_REFUSALS: Final = 10
_DEADLINE: Final = 8.0
_BULK_BYTES: Final = 50_000
_BACK_WITHIN: Final = 60.0
# What a caller may hear of a database that is full, or has died of it.
_FITTING: Final = {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED}


async def fill_disk(mesh: ChaosMesh) -> list[str]:
    """Fill the disk, until several creations have been refused; return what is wrong then.

    PostgreSQL may stop for want of room for its log: it is started again once there is room.
    """
    mesh.disk.fill()
    try:
        refusals = await _create_until_refused(mesh)
    finally:
        mesh.disk.make_room()
        await _have_postgres_back(mesh)
    wrong = {code: count for code, count in refusals.items() if code not in _FITTING}
    problems = [f"a full disk was answered by {code.name}" for code in wrong]
    if not refusals:
        problems.append(f"a full disk kept nothing from being created within {_PATIENCE:.0f} s")
    return problems


async def _have_postgres_back(mesh: ChaosMesh) -> None:
    async with asyncio.timeout(_BACK_WITHIN):
        while not await mesh.postgres.is_ready():
            if mesh.postgres.pid is None:
                await mesh.postgres.start()
            await asyncio.sleep(0.1)


async def _create_until_refused(mesh: ChaosMesh) -> Counter[StatusCode]:
    refusals: Counter[StatusCode] = Counter()
    history = History(mesh.directory / "client-disk.jsonl")
    deadline = time.monotonic() + _PATIENCE
    async with channel_to(mesh.targets()) as channel:
        stub = TaskServiceStub(channel)
        while refusals.total() < _REFUSALS and time.monotonic() < deadline:
            begun, request = time.time(), _bulky()
            try:
                made = await stub.CreateTask(
                    request, timeout=_DEADLINE, metadata=credential(mesh.key)
                )
            except aio.AioRpcError as error:
                refusals[error.code()] += 1
                await asyncio.sleep(0.1)
            else:
                ids = [made.id]
                history.operation(request.request_id, "create", begun, "ok", ids=ids, code="")
    return refusals


def _bulky() -> api.CreateTaskRequest:
    task = task_pb2.Task(capability=CAPABILITY)
    task.input["work"] = 0.0
    # What can be compressed takes no room.
    task.input["bulk"] = os.urandom(_BULK_BYTES).hex()
    return api.CreateTaskRequest(task=task, request_id=str(uuid4()))
