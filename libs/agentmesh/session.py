"""One dispatch stream, from hello to its end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from grpc import aio

from agentmesh.errors import MeshError, from_rpc_error
from agentmesh.outbox import Entry, Outbox
from agentmesh.racing import first_of
from agentmesh.running import Running
from mesh.task.v1 import dispatch_service_pb2, dispatch_service_pb2_grpc

log = logging.getLogger("agentmesh")

SILENT: Final = "DEADLINE_EXCEEDED"
"""Code of an error that says that nothing was heard: the connection itself may be dead."""

_WELCOME_SECONDS: Final = 10.0
_LONGEST_INTERVAL: Final = 5.0
# A server that was not heard of for so many heartbeats is taken for gone. Not sooner than
# in a second: a loop that is busy looks the same.
_SILENT_INTERVALS: Final = 3
_SHORTEST_SILENCE: Final = 1.0
_HAND_OVER_SECONDS: Final = 1.0

Request = dispatch_service_pb2.DispatchRequest
Response = dispatch_service_pb2.DispatchResponse
Drain = dispatch_service_pb2.Drain


@dataclass
class Intake:
    """What an agent process wants of the mesh.

    Attributes:
        slots: Most tasks at a time; 0 for none at all.
        leaving: Set once it wants no more, for good.
        left: Set once the mesh has agreed.
    """

    slots: int
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Session:
    """Takes assignments and hands in reports on one stream.

    Attributes:
        drained: Set once the server gives nothing more on this stream, with `cause`.
    """

    def __init__(
        self,
        channel: aio.Channel,
        metadata: Sequence[tuple[str, str]],
        running: Running,
        outbox: Outbox,
        intake: Intake,
    ) -> None:
        stub = dispatch_service_pb2_grpc.DispatchServiceStub(channel)
        self._call: Any = stub.Dispatch(metadata=metadata)
        self._running = running
        self._outbox = outbox
        self._intake = intake
        # What was sent, in order, for receipts come in the order of reports.
        self._sent: deque[Entry] = deque()
        self._slots_told = 0
        self._heartbeat_due = False
        self._said_leaving = False
        self._handing_over = False
        self._heard = False
        self._interval = self._idle_interval = _LONGEST_INTERVAL
        self._given = asyncio.Event()
        self.drained = asyncio.Event()
        self.cause: int = Drain.CAUSE_UNSPECIFIED

    async def open(self, hello: dispatch_service_pb2.Hello) -> None:
        """Say hello and wait for the welcome.

        Raises:
            MeshError: The server refused it, or did not answer, with the code `SILENT`.
        """
        self._slots_told = hello.slots
        try:
            async with asyncio.timeout(_WELCOME_SECONDS):
                await self._call.write(Request(hello=hello))
                response = await self._call.read()
            welcome = _welcome_in(response)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.InvalidStateError as error:
            raise MeshError("the mesh did not welcome this agent", code="UNAVAILABLE") from error
        except TimeoutError as error:
            raise MeshError("the mesh is silent", code=SILENT) from error
        for lease in welcome.lost:
            self._running.stop(lease)
        interval = welcome.heartbeat_interval.ToTimedelta().total_seconds()
        self._interval = min(interval, _LONGEST_INTERVAL) or _LONGEST_INTERVAL
        self._idle_interval = welcome.idle_heartbeat_interval.ToTimedelta().total_seconds()
        log.info("connected, %d slots", hello.slots)

    def close(self) -> None:
        """Give the stream up before it runs."""
        self._call.cancel()

    async def run(self) -> None:
        """Serve the stream until it ends.

        Raises:
            MeshError: It broke, or the server went silent, with the code `SILENT`.
        """
        try:
            await first_of(self._read(), self._send(), self._keep_time())
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.InvalidStateError as error:
            raise MeshError("the dispatch stream broke off", code="UNAVAILABLE") from error
        except asyncio.CancelledError as error:
            # A call on a channel that is closed ends as if whoever reads it had been cancelled.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise MeshError("the dispatch stream was closed", code="UNAVAILABLE") from error
        finally:
            self._call.cancel()
            self._outbox.put_back(self._sent)
            self._sent.clear()

    async def hand_over(self, running: asyncio.Task[None]) -> None:
        """End in favour of another stream: send nothing more, and wait a little for receipts."""
        self._handing_over = True
        self._outbox.ready.set()
        await asyncio.wait({running}, timeout=_HAND_OVER_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def _read(self) -> None:
        while isinstance(response := await self._call.read(), Response):
            self._heard = True
            # Of these, the message has one; the most frequent come first.
            match response.WhichOneof("message"):
                case "assignments":
                    self._acknowledge(response.assignments.receipts)
                    for assignment in response.assignments.assignments:
                        self._running.start(assignment)
                    self._given.set()
                case "receipts":
                    self._acknowledge(response.receipts.receipts)
                case "drain":
                    self._drain(response.drain.cause)
                case _:
                    self._stop(response)

    def _stop(self, response: Response) -> None:
        for lease in response.cancellations.leases:
            self._running.stop(lease)
        for lease in response.cancel_requests.leases:
            self._running.ask_to_stop(lease)

    def _acknowledge(self, receipts: Sequence[dispatch_service_pb2.Receipt]) -> None:
        for receipt in receipts:
            if not self._sent:
                raise MeshError("the mesh sent a receipt for no report", code="UNAVAILABLE")
            self._running.acknowledge(self._sent.popleft(), receipt)

    def _drain(self, cause: int) -> None:
        if self._intake.leaving.is_set():
            # The stream goes on: what runs is still to be reported.
            self._intake.left.set()
        elif cause != Drain.CAUSE_LEAVING:
            self.cause = cause
            self.drained.set()

    async def _send(self) -> None:
        ready = self._outbox.ready
        while not self._handing_over:
            ready.clear()
            request = self._next_request()
            if request is None:
                await ready.wait()
            else:
                await self._call.write(request)
        await self._call.done_writing()
        # The receipts of what was sent are still to come.
        await asyncio.Event().wait()

    def _next_request(self) -> Request | None:
        intake = self._intake
        if self._heartbeat_due:
            self._heartbeat_due = False
            holding = self._running.leases()
            return Request(heartbeat=dispatch_service_pb2.Heartbeat(holding=holding))
        if intake.leaving.is_set() and not self._said_leaving:
            self._said_leaving = True
            return Request(leaving=dispatch_service_pb2.Leaving())
        if intake.slots != self._slots_told:
            self._slots_told = intake.slots
            return Request(credits=dispatch_service_pb2.Credits(slots=intake.slots))
        entries = self._outbox.take()
        if not entries:
            return None
        self._sent.extend(entries)
        reports = [entry.report for entry in entries]
        return Request(reports=dispatch_service_pb2.Reports(reports=reports))

    async def _keep_time(self) -> None:
        """Have heartbeats sent, and end a stream whose server doesn't answer them."""
        most = max(_SILENT_INTERVALS, math.ceil(_SHORTEST_SILENCE / self._interval))
        silent = 0
        while silent < most:
            self._heard = False
            self._heartbeat_due = True
            self._outbox.ready.set()
            await asyncio.sleep(self._interval)
            silent = 0 if self._heard else silent + 1
            if not silent and not self._running.leases():
                await self._rest()
        seconds = self._interval * most
        raise MeshError(f"nothing was heard of the mesh for {seconds:.1f} s", code=SILENT)

    async def _rest(self) -> None:
        """Wait for a task, or until a heartbeat is due though there is none.

        The connection's pings tell meanwhile whether the server is there.
        """
        self._given.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._idle_interval - self._interval):
                await self._given.wait()


def _welcome_in(response: Any) -> dispatch_service_pb2.Welcome:
    if not isinstance(response, Response) or not response.HasField("welcome"):
        raise asyncio.InvalidStateError
    return response.welcome
