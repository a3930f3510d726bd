"""An agent process: registers, keeps a dispatch stream, survives its loss, leaves in order."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from agentmesh.client import Client
from agentmesh.connection import Connection
from agentmesh.errors import MeshError
from agentmesh.handlers import Handler
from agentmesh.outbox import Outbox
from agentmesh.registration import Registration
from agentmesh.running import Running
from agentmesh.session import SILENT, Drain, Intake, Session
from mesh.registry.v1 import agent_pb2
from mesh.task.v1 import dispatch_service_pb2

log = logging.getLogger("agentmesh")

_BACKOFF_SECONDS: Final = (0.2, 10.0)
_LEAVING_SECONDS: Final = 2.0
_GIVING_BACK_SECONDS: Final = 5.0
# A session that lasted this long was a good one.
_STEADY_SECONDS: Final = 5.0
_FATAL: Final = {"UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNIMPLEMENTED"}


class Worker:
    """Serves an agent's handlers until told to leave."""

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        description: str,
        labels: Mapping[str, str],
        slots: int,
        handlers: Mapping[str, Handler],
        grace: float,
        build_id: str = "",
    ) -> None:
        self._connection = connection
        self._agent = agent_pb2.Agent(
            name=name,
            description=description,
            labels=labels,
            capabilities=[
                agent_pb2.Capability(
                    name=handler.capability,
                    version=handler.version,
                    description=handler.description[:1024],
                )
                for handler in handlers.values()
            ],
        )
        self._build_id = build_id
        # The same on each stream, so that the mesh knows the old one for dead when a new one comes.
        self._process_id = str(uuid.uuid4())
        self._grace = grace
        self._intake = Intake(slots)
        self._outbox = Outbox()
        self._running = Running(handlers, self._outbox, self._client)
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._own_client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self) -> None:
        """Have `run` take no more tasks, finish those that run, and return."""
        self._intake.leaving.set()
        self._outbox.ready.set()

    def take(self, slots: int) -> None:
        """Take so many tasks at a time from now on, 0 for none; from any thread."""
        self._intake.slots = slots
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._outbox.ready.set)

    async def run(self) -> None:
        """Serve until told to leave.

        Raises:
            MeshError: The mesh refuses this agent for good.
        """
        self._loop = asyncio.get_running_loop()
        self._channel = self._connection.channel()
        registration = Registration(self._channel, self._connection.metadata, self._agent)
        serving = asyncio.create_task(self._serve(registration))
        beating = asyncio.create_task(registration.keep())
        leaving = asyncio.create_task(self._intake.leaving.wait())
        try:
            await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await self._finish(serving)
            if serving.done():
                serving.result()
        finally:
            for task in (leaving, serving, beating):
                task.cancel()
            await asyncio.gather(leaving, serving, beating, return_exceptions=True)
            self._running.release_all()
            if self._own_client is not None:
                await self._own_client.close()
            await registration.say_goodbye()
            await self._channel.close()

    async def _finish(self, serving: asyncio.Task[None]) -> None:
        """Let running tasks end while the stream goes on; give back what doesn't end in time."""
        log.info("leaving: no more tasks")
        left = asyncio.create_task(self._intake.left.wait())
        # Until the server has agreed, a task may still be on its way here.
        await asyncio.wait(
            {serving, left}, timeout=_LEAVING_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        left.cancel()
        settled = asyncio.create_task(self._outbox.settled())
        for seconds in (self._grace, _GIVING_BACK_SECONDS):
            await asyncio.wait(
                {serving, settled}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if settled.done() or serving.done():
                break
            self._running.release_all()
        settled.cancel()

    async def _serve(self, registration: Registration) -> None:
        delay = _BACKOFF_SECONDS[0]
        try:
            while True:
                began, wait = time.monotonic(), True
                try:
                    await registration.register()
                    wait = await self._session(registration.agent_id)
                except MeshError as error:
                    if error.code in _FATAL:
                        raise
                    log.warning("%s; trying again", error)
                    if error.code == SILENT:
                        await self._connect_anew(registration)
                if time.monotonic() - began > _STEADY_SECONDS:
                    delay = _BACKOFF_SECONDS[0]
                if wait:
                    await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                    delay = min(delay * 2, _BACKOFF_SECONDS[1])
        finally:
            for task in self._sessions.values():
                task.cancel()
            await asyncio.gather(*self._sessions.values(), return_exceptions=True)

    async def _connect_anew(self, registration: Registration) -> None:
        """Leave a connection on which nothing comes, without waiting for it to be found dead."""
        old, self._channel = self._channel, self._connection.channel()
        registration.use(self._channel)
        await old.close()

    async def _session(self, agent_id: str) -> bool:
        """Serve one stream until it is to be followed by another; return whether to wait before.

        Raises:
            MeshError: It broke, or the server refused it.
        """
        session = Session(
            self._channel, self._connection.metadata, self._running, self._outbox, self._intake
        )
        try:
            await session.open(self._hello(agent_id))
        except BaseException:
            session.close()
            raise
        for older, its_running in list(self._sessions.items()):
            await older.hand_over(its_running)
        running = asyncio.create_task(session.run())
        self._sessions[session] = running
        running.add_done_callback(lambda _: self._ended(session))
        drained = asyncio.create_task(session.drained.wait())
        try:
            await asyncio.wait({running, drained}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if running.done():
            running.result()
            return True
        if session.cause == Drain.CAUSE_REPLACED:
            # Another stream of this process was opened last; to take its place again would be
            # a fight without an end.
            log.warning("another stream took the place of this one")
            await asyncio.wait({running})
            await asyncio.sleep(_BACKOFF_SECONDS[1])
            return False
        # The old stream goes on carrying reports until the new one is welcome.
        log.info("the server gives nothing more here; connecting anew")
        return False

    def _ended(self, session: Session) -> None:
        running = self._sessions.pop(session)
        # One that was to be followed by another anyway may end as it likes.
        if not running.cancelled() and (error := running.exception()) is not None:
            log.debug("a stream ended: %s", error)

    def _hello(self, agent_id: str) -> dispatch_service_pb2.Hello:
        return dispatch_service_pb2.Hello(
            agent_id=agent_id,
            # None at all is said by credits.
            slots=max(self._intake.slots, 1),
            capabilities=[capability.name for capability in self._agent.capabilities],
            holding=self._running.leases(),
            sdk=f"agentmesh-python/{version('agentmesh')}",
            build_id=self._build_id,
            process_id=self._process_id,
            merges_receipts=True,
        )

    def _client(self) -> Client:
        if self._own_client is None:
            self._own_client = Client(connection=self._connection).open()
        return self._own_client
