"""Creations that are made at the same time, on one stream.

A message on a stream costs a fraction of a call, so what is asked for in one turn of the
event loop, or while a message is under way, travels together. One creation alone is sent
at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any, Final

from grpc import aio

from agentmesh.client.caller import ATTEMPTS, CALL_SECONDS, Caller, wait_before
from agentmesh.errors import MeshError, from_rpc_error, from_status
from agentmesh.racing import first_of
from mesh.task.v1 import task_service_pb2, task_service_pb2_grpc

log = logging.getLogger("agentmesh")

_MOST_REQUESTS: Final = 1000
# Below what the mesh accepts in a message.
_MOST_BYTES: Final = 900_000
# While so many messages are under way, what comes waits for company.
_MOST_UNDER_WAY: Final = 4
_ONE_BY_ONE: Final = 16
# A stream is given back when it isn't needed, and now and then: a replica that is new gets
# its share of callers, and one that goes isn't held up.
_IDLE_SECONDS: Final = 5.0
_AGE_SECONDS: Final = 60.0
_SAME_FOR_ALL: Final = {"UNAUTHENTICATED", "PERMISSION_DENIED"}

Request = task_service_pb2.CreateTaskRequest


class _Creation:
    __slots__ = ("attempts", "done", "request", "size")

    def __init__(self, request: Request, done: asyncio.Future[str]) -> None:
        self.request = request
        self.done = done
        self.size = request.ByteSize() + 8
        self.attempts = 0


class CreationStream:
    """Makes tasks on one stream at a time.

    What a stream that broke leaves unanswered is sent again, with the same request ids:
    it is made once, whether or not it had been made.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._stub = task_service_pb2_grpc.TaskServiceStub(caller.channel)
        self._waiting: deque[_Creation] = deque()
        self._under_way: deque[list[_Creation]] = deque()
        self._changed = asyncio.Event()
        self._heard = 0.0
        self._serving: asyncio.Task[None] | None = None

    def submit(self, request: Request) -> asyncio.Future[str]:
        """Have a task made; the future gets its id, or a MeshError."""
        loop = asyncio.get_running_loop()
        creation = _Creation(request, loop.create_future())
        self._waiting.append(creation)
        if self._serving is None or self._serving.done():
            self._serving = loop.create_task(self._serve())
        self._changed.set()
        return creation.done

    async def close(self) -> None:
        """Refuse what isn't answered yet."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        _refuse(self._unanswered(), _closed())

    async def _serve(self) -> None:
        while self._waiting:
            try:
                await self._serve_on_one_stream()
            except MeshError as error:
                await self._recover(error)
            except Exception:
                # Whoever waits is to hear of it.
                log.exception("an answer to creations makes no sense")
                refusal = MeshError("the mesh's answer makes no sense", code="INTERNAL")
                _refuse(self._unanswered(), refusal)

    async def _serve_on_one_stream(self) -> None:
        call = self._stub.StreamCreateTasks(metadata=self._caller.metadata)
        try:
            await first_of(self._read(call), self._send(call))
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
        if self._under_way:
            raise MeshError("the stream ended before its time", code="UNAVAILABLE")

    async def _send(self, call: Any) -> None:
        with suppress(aio.AioRpcError, asyncio.InvalidStateError):
            await self._send_until_idle(call)
        # How the stream ended is for the reader to say.
        await asyncio.Event().wait()

    async def _send_until_idle(self, call: Any) -> None:
        loop = asyncio.get_running_loop()
        born = self._heard = loop.time()
        while loop.time() - born < _AGE_SECONDS:
            while self._waiting and len(self._under_way) < _MOST_UNDER_WAY:
                await self._send_batch(call)
            self._changed.clear()
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if not self._under_way:
                    break
                if loop.time() - self._heard > CALL_SECONDS:
                    raise MeshError("the mesh does not answer", code="UNAVAILABLE") from None
        await call.done_writing()

    async def _send_batch(self, call: Any) -> None:
        if batch := self._next_batch():
            self._under_way.append(batch)
            requests = [each.request for each in batch]
            await call.write(task_service_pb2.StreamCreateTasksRequest(requests=requests))

    async def _read(self, call: Any) -> None:
        loop = asyncio.get_running_loop()
        while isinstance(answer := await call.read(), task_service_pb2.StreamCreateTasksResponse):
            self._heard = loop.time()
            for creation, result in zip(self._under_way.popleft(), answer.results, strict=True):
                _settle(creation, result)
            self._changed.set()

    def _next_batch(self) -> list[_Creation]:
        """Take what may travel in one message, passing over what nobody waits for any more."""
        batch: list[_Creation] = []
        size = 0
        while self._waiting and len(batch) < _MOST_REQUESTS:
            size += self._waiting[0].size
            if batch and size > _MOST_BYTES:
                break
            creation = self._waiting.popleft()
            if not creation.done.done():
                batch.append(creation)
        return batch

    async def _recover(self, error: MeshError) -> None:
        """Decide what becomes of creations that a stream left unanswered."""
        if error.code in _SAME_FOR_ALL:
            _refuse(self._unanswered(), error)
        elif error.is_transient:
            self._send_again(self._unanswered(), error)
            if self._waiting:
                await wait_before(self._waiting[0].attempts, error)
        else:
            # The message that came next is at fault, and nothing else.
            first = self._under_way.popleft() if self._under_way else self._next_batch()
            self._waiting.extendleft(reversed(self._unanswered()))
            await self._create_one_by_one(first)

    def _unanswered(self) -> list[_Creation]:
        unanswered = [each for batch in self._under_way for each in batch]
        unanswered.extend(self._waiting)
        self._under_way.clear()
        self._waiting.clear()
        return unanswered

    def _send_again(self, creations: list[_Creation], error: MeshError) -> None:
        for each in creations:
            each.attempts += 1
            if each.attempts < ATTEMPTS:
                self._waiting.append(each)
            else:
                _refuse([each], error)

    async def _create_one_by_one(self, creations: list[_Creation]) -> None:
        places = asyncio.Semaphore(_ONE_BY_ONE)

        async def create(creation: _Creation) -> None:
            async with places:
                try:
                    made = await self._caller.call(self._stub.CreateTask, creation.request)
                except MeshError as error:
                    _refuse([creation], error)
                except asyncio.CancelledError:
                    _refuse([creation], _closed())
                    raise
                else:
                    _fulfil(creation, made.id)

        await asyncio.gather(*map(create, creations))


def _settle(creation: _Creation, result: task_service_pb2.CreateTaskResult) -> None:
    if result.task_id:
        _fulfil(creation, result.task_id)
    else:
        _refuse([creation], from_status(result.error))


def _fulfil(creation: _Creation, task_id: str) -> None:
    # Nobody may wait for it any more.
    if not creation.done.done():
        creation.done.set_result(task_id)


def _refuse(creations: list[_Creation], error: MeshError) -> None:
    for creation in creations:
        if not creation.done.done():
            creation.done.set_exception(error)


def _closed() -> MeshError:
    return MeshError("the client was closed", code="CANCELLED")
