"""A client as a process: `python -m tests.chaos.client`, its orders as JSON in CHAOS_CLIENT.

Started again after a kill it reads its own history and goes on: what it does not know
to be done it asks for again, under the same request ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio

from mesh.task.v1 import task_service_pb2 as api
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.chaos.connecting import channel_to, credential
from tests.chaos.history import History, read
from tests.chaos.workload import Wish, wishes

VARIABLE: Final = "CHAOS_CLIENT"
_SIDE_BY_SIDE: Final = 48
_DEADLINE: Final = 8.0
_PAUSE: Final = 0.2
# What may have been done all the same.
_UNKNOWN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    # What a service says that can't check a key, as it can't reach auth.
    grpc.StatusCode.UNAUTHENTICATED,
)


@dataclass(frozen=True)
class Orders:
    """What a client is to do, where, and how many tasks it makes a second at most."""

    seed: int
    number: int
    tasks: int
    targets: list[str]
    key: str
    directory: str
    rate: float


class Client:
    """Carries out its wishes, some at a time."""

    def __init__(self, orders: Orders) -> None:
        path = Path(orders.directory) / f"client-{orders.number}.jsonl"
        self._wishes = wishes(orders.seed, orders.number, orders.tasks)
        loop = asyncio.get_running_loop()
        self._ids = [loop.create_future() for _ in self._wishes]
        for line in read(path):
            if line["result"] != "unknown" and not self._ids[line["number"]].done():
                self._ids[line["number"]].set_result((line["ids"] or [""])[0])
        self._orders = orders
        self._history = History(path)
        self._stub = TaskServiceStub(channel_to(orders.targets))
        self._metadata = credential(orders.key)
        self._places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def run(self) -> None:
        """Do all that is not done yet."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        async with asyncio.TaskGroup() as group:
            for wish in self._wishes:
                if self._ids[wish.number].done():
                    continue
                await self._places.acquire()
                group.create_task(self._fulfil(wish))
                next_at = max(next_at + wish.tasks / self._orders.rate, loop.time() - 1)
                await asyncio.sleep(next_at - loop.time())

    async def _fulfil(self, wish: Wish) -> None:
        try:
            earlier = ""
            if wish.number >= wish.back:
                earlier = await self._ids[wish.number - wish.back]
            ids = await self._ask(wish, earlier)
            self._ids[wish.number].set_result((ids or [""])[0])
        finally:
            self._places.release()

    async def _ask(self, wish: Wish, earlier: str) -> list[str]:
        match wish.op:
            case "create":
                return await self._until_known(wish, self._create(wish, earlier))
            case "batch":
                return await self._until_known(wish, self._batch(wish, earlier))
            case _:
                return await self._until_known(wish, self._cancel(earlier)) if earlier else []

    def _create(self, wish: Wish, earlier: str) -> Callable[[], Awaitable[list[str]]]:
        request = self._request(wish, 0, earlier)

        async def call() -> list[str]:
            made = await self._stub.CreateTask(request, timeout=_DEADLINE, metadata=self._metadata)
            return [made.id]

        return call

    def _batch(self, wish: Wish, earlier: str) -> Callable[[], Awaitable[list[str]]]:
        requests = [self._request(wish, index, earlier) for index in range(wish.tasks)]
        request = api.BatchCreateTasksRequest(requests=requests)

        async def call() -> list[str]:
            made = await self._stub.BatchCreateTasks(
                request, timeout=_DEADLINE, metadata=self._metadata
            )
            return [each.task_id for each in made.results if each.task_id]

        return call

    def _cancel(self, earlier: str) -> Callable[[], Awaitable[list[str]]]:
        request = api.CancelTaskRequest(task_id=earlier)

        async def call() -> list[str]:
            await self._stub.CancelTask(request, timeout=_DEADLINE, metadata=self._metadata)
            return []

        return call

    def _request(self, wish: Wish, index: int, earlier: str) -> api.CreateTaskRequest:
        return api.CreateTaskRequest(
            task=wish.task(index, earlier), request_id=f"{wish.seed}:{index}"
        )

    async def _until_known(self, wish: Wish, call: Callable[[], Awaitable[list[str]]]) -> list[str]:
        while True:
            begun, ids, code = time.time(), list[str](), ""
            try:
                ids = await call()
                result = "ok"
            except aio.AioRpcError as error:
                code = f"{error.code().name}: {error.details()}"
                result = "unknown" if error.code() in _UNKNOWN else "refused"
            self._note(wish, begun, result, ids, code)
            if result != "unknown":
                return ids
            await asyncio.sleep(_PAUSE)

    def _note(self, wish: Wish, begun: float, result: str, ids: list[str], code: str) -> None:
        more: dict[str, Any] = {"number": wish.number, "ids": ids, "code": code}
        self._history.operation(wish.seed, wish.op, begun, result, **more)


async def main() -> None:
    """Do what the environment orders."""
    await Client(Orders(**json.loads(os.environ[VARIABLE]))).run()


if __name__ == "__main__":
    asyncio.run(main())
