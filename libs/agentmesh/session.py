"""One dispatch stream, from hello to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from grpc import aio

from agentmesh.errors import MeshError, from_rpc_error
from agentmesh.running import Running
from mesh.task.v1 import dispatch_service_pb2, dispatch_service_pb2_grpc

log = logging.getLogger("agentmesh")

_WELCOME_SECONDS: Final = 10.0

Request = dispatch_service_pb2.DispatchRequest
Response = dispatch_service_pb2.DispatchResponse


class Session:
    """Takes assignments and hands in reports on one stream.

    Leases and reports outlive it: they are kept in `Running`. Once `leaving` is set
    it asks for no more tasks, and sets `left` when the server has agreed.
    """

    def __init__(
        self,
        channel: aio.Channel,
        metadata: Sequence[tuple[str, str]],
        running: Running,
        leaving: asyncio.Event,
        left: asyncio.Event,
    ) -> None:
        self._stub = dispatch_service_pb2_grpc.DispatchServiceStub(channel)
        self._metadata = metadata
        self._running = running
        self._leaving = leaving
        self._left = left
        # gRPC kills a call on which two writes meet.
        self._writing = asyncio.Lock()

    async def run(self, hello: dispatch_service_pb2.Hello) -> None:
        """Serve the stream until the server drains or it breaks.

        Raises:
            MeshError: It broke, or the server refused it.
        """
        call = self._stub.Dispatch(metadata=self._metadata)
        try:
            welcome = await self._open(call, hello)
            await _first_of(
                self._read(call),
                self._hand_in(call),
                self._keep_leases(call, welcome.heartbeat_interval.ToTimedelta().total_seconds()),
                self._say_when_leaving(call),
            )
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except (asyncio.InvalidStateError, TimeoutError) as error:
            raise MeshError("the dispatch stream broke off", code="UNAVAILABLE") from error
        finally:
            call.cancel()

    async def _open(self, call: Any, hello: dispatch_service_pb2.Hello) -> Any:
        hello.holding.extend(self._running.leases())
        async with asyncio.timeout(_WELCOME_SECONDS):
            await self._write(call, Request(hello=hello))
            response = await call.read()
        if not isinstance(response, Response) or not response.HasField("welcome"):
            raise asyncio.InvalidStateError
        for lease in response.welcome.lost:
            self._running.stop(lease)
        self._running.resend()
        log.info("connected, %d slots", hello.slots)
        return response.welcome

    async def _read(self, call: Any) -> None:
        while isinstance(response := await call.read(), Response):
            if response.HasField("drain"):
                if not self._leaving.is_set():
                    log.info("the server goes; connecting anew")
                    return
                # The stream goes on: what runs is still to be reported.
                self._left.set()
            # Of these three, the message has one; the others are empty.
            for assignment in response.assignments.assignments:
                self._running.start(assignment)
            for receipt in response.receipts.receipts:
                self._running.acknowledge(receipt)
            for lease in response.cancellations.leases:
                self._running.stop(lease)

    async def _hand_in(self, call: Any) -> None:
        while True:
            reports = await self._running.next_reports()
            message = dispatch_service_pb2.Reports(reports=reports)
            await self._write(call, Request(reports=message))

    async def _keep_leases(self, call: Any, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            heartbeat = dispatch_service_pb2.Heartbeat(holding=self._running.leases())
            await self._write(call, Request(heartbeat=heartbeat))

    async def _say_when_leaving(self, call: Any) -> None:
        await self._leaving.wait()
        await self._write(call, Request(leaving=dispatch_service_pb2.Leaving()))
        await asyncio.Event().wait()

    async def _write(self, call: Any, request: Request) -> None:
        async with self._writing:
            await call.write(request)


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends, end the others, and raise what it raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
