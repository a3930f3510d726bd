"""A mesh whose every process can be killed by hand: PostgreSQL, services, agents, clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from agentmesh.stack.composition import GATEWAY, SERVICES, Composition, Ports, database_name
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.errors import StackError
from agentmesh.stack.keys import Keys
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.ports import LOOPBACK, pick_free_ports
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.process import ChildProcess, Program
from agentmesh.stack.readiness import grpc_is_ready
from agentmesh.stack.secrets import SecretFiles
from meshkit.failpoints import VARIABLE as FAILPOINTS
from tests.chaos import clock
from tests.chaos.balancer import Balancer
from tests.chaos.cutter import CommitCutter
from tests.chaos.disk import SmallDisk
from tests.chaos.host_clock import HostClock
from tests.chaos.staff import Staff

LEASE: Final = 4.0
"""Seconds that a lease lasts: agents that were killed are found out soon."""

REPLICAS: Final = ("task-0", "task-1")
SPARE: Final = "task-2"
"""A replica that comes up while another one is restarted."""

_NEEDED: Final = ("auth", "registry", "analytics")
_START_TRIES: Final = 5
_STOP_SECONDS: Final = 30.0
# As in a cluster, where a replica is told to go and is taken off the list at about the same time.
_NOTICE_SECONDS: Final = 0.3
_SEVER: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'agentmesh-writer'
"""
_SETTINGS: Final = {
    "AGENTMESH_DISPATCH__LEASE": str(LEASE),
    "AGENTMESH_DISPATCH__HEARTBEAT": "1",
    "AGENTMESH_DISPATCH__CANCEL_GRACE": "1",
    "AGENTMESH_DISPATCH__STREAM_SILENCE": "5",
    "AGENTMESH_DATABASE__POOL_SIZE": "5",
    # Longer than the clock is ever moved by.
    "AGENTMESH_RETENTION__KEEP_OUTPUT": "8640000",
    "AGENTMESH_LOG__LEVEL": "WARNING",
}


class ChaosMesh:
    """All processes of a run.

    Attributes:
        staff: The clients and agents.
        disk: PostgreSQL's own, if it was asked for and can be had.
    """

    def __init__(self, directory: Path, seed: int, *, disk_bytes: int = 0) -> None:
        self.directory = directory
        self.seed = seed
        self.places = DataDirectory(directory / "data")
        self.disk = SmallDisk(directory / "disk", disk_bytes)
        self.host_clock = HostClock(directory)
        self.services: dict[str, ChildProcess] = {}
        self.staff = Staff(directory)
        self.key = ""
        self.url = ""
        self._wants_disk = disk_bytes > 0
        self._programs: dict[str, Program] = {}
        self._ports: dict[str, int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run PostgreSQL, the services and the gateway; everything is killed at the end."""
        self.places.prepare()
        async with AsyncExitStack() as cleanup:
            if self._wants_disk:
                await cleanup.enter_async_context(self.disk)
            self.postgres = self._postgres()
            await self.postgres.start()
            cleanup.push_async_callback(self.postgres.kill)
            self.cutter = CommitCutter(self.directory / "cut", Path(self.postgres.address))
            await cleanup.enter_async_context(self.cutter)
            cleanup.push_async_callback(self._end)
            composition = await self._prepare()
            self.balancer = Balancer(LOOPBACK, composition.ports.services["task"], self._ports)
            await cleanup.enter_async_context(self.balancer)
            # The first replica migrates; the other one comes after it.
            first = (*_NEEDED, GATEWAY, REPLICAS[0])
            await asyncio.gather(*(self.start_service(name) for name in first))
            await self.start_service(REPLICAS[1])
            yield

    def targets(self) -> list[str]:
        """Return where replicas of task may listen."""
        return [self.target(replica) for replica in (*REPLICAS, SPARE)]

    def target(self, name: str) -> str:
        """Return where a service listens."""
        return f"{LOOPBACK}:{self._ports[name]}"

    async def start_service(self, name: str, **environment: str) -> None:
        """Start a service, with more in its environment if wanted, and wait until it is ready.

        Raises:
            StackError: It doesn't get ready; with failpoints it may have died of them.
        """
        program = self._programs[name]
        given = {**program.env, **environment}
        child = ChildProcess(
            Program(name, program.address, program.command, given, program.is_ready),
            log=LogFile(self.places.log(name)),
            cwd=self.places.run,
        )
        self.services[name] = child
        for attempt in range(1, _START_TRIES + 1):
            try:
                await child.start()
            except StackError:
                # While the database is away, a service can't start.
                if FAILPOINTS in environment or attempt == _START_TRIES:
                    raise
            else:
                if name in (*REPLICAS, SPARE):
                    self.balancer.take_in(name)
                return

    async def stop_service(self, name: str) -> None:
        """Let a replica go as a cluster does: it drains, and gets no new connections."""
        leaving = asyncio.create_task(self.services[name].stop(_STOP_SECONDS))
        await asyncio.sleep(_NOTICE_SECONDS)
        self.balancer.leave_out(name)
        await leaving

    def signal_service(self, name: str, number: int) -> None:
        """Send a signal to a service."""
        if (pid := self.services[name].pid) is not None:
            os.kill(pid, number)

    async def kill_service(self, name: str) -> None:
        """Kill a service as kill -9 does."""
        await self.services[name].kill()

    async def move_clock(self, seconds: float) -> None:
        """Move the clock of the task database."""
        await self.with_database(lambda each: clock.move(each, seconds))

    async def sever_writers(self) -> None:
        """End the sessions of the replicas' writers."""
        await self.with_database(lambda each: each.execute(_SEVER))

    async def with_database(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Do something with the task database, and return what it came to."""
        connection = await self.postgres.connect(database_name("task"))
        try:
            return await work(connection)
        finally:
            await connection.close()

    def _postgres(self) -> EmbeddedPostgres:
        own = self._wants_disk and not self.disk.why_not
        return EmbeddedPostgres(
            self.disk.directory / "postgres" if own else self.places.postgres,
            log_path=self.places.log("postgres"),
            settings={"max_wal_size": "256MB" if own else "2GB"},
        )

    async def _end(self) -> None:
        await self.staff.end()
        for service in self.services.values():
            await service.kill()

    async def _prepare(self) -> Composition:
        for service in SERVICES:
            await self.postgres.create_database(database_name(service))
        await self.with_database(lambda each: clock.prepare(each, database_name("task")))
        composition = Composition(
            host=LOOPBACK,
            ports=Ports.pick(LOOPBACK, 0),
            data_directory=self.places.path,
            gateway_work=self.places.gateway_work,
            database_url=self.postgres.url,
        )
        secrets = SecretFiles(self.places.secrets)
        master = {"AGENTMESH_AUTH__MASTER_KEY": secrets.make_master_key()}
        keys = Keys(
            secrets,
            create_key=composition.service_command("auth", "create-key"),
            environment=composition.service_environment("auth") | master,
            cwd=self.places.run,
        )
        await keys.ensure(["registry", "task", "analytics"])
        self.key, self.url = keys.admin(), composition.url
        self._programs[GATEWAY] = composition.gateway()
        for name in _NEEDED:
            own = master if name == "auth" else _key(keys, name)
            self._programs[name] = composition.service(name, credentials=_SETTINGS | own)
            self._ports[name] = composition.ports.services[name]
        self._add_replicas(composition, _key(keys, "task"))
        return composition

    def _add_replicas(self, composition: Composition, key: Mapping[str, str]) -> None:
        for name, port in zip((*REPLICAS, SPARE), pick_free_ports(3), strict=True):
            self._ports[name] = port
            own = {"AGENTMESH_GRPC__PORT": str(port), "AGENTMESH_METRICS__PORT": "0"}
            if name == REPLICAS[1]:
                own["AGENTMESH_DATABASE__URL"] = self._cut_off()
            environment = {**composition.service_environment("task"), **_SETTINGS, **key, **own}
            self._programs[name] = Program(
                name,
                self.target(name),
                composition.service_command("task"),
                environment,
                partial(grpc_is_ready, LOOPBACK, port),
            )

    def _cut_off(self) -> str:
        """Return the URL by which the task database is reached through the cutter."""
        there = str(self.postgres.socket_directory)
        return self.postgres.url(database_name("task")).replace(there, str(self.directory / "cut"))


def _key(keys: Keys, service: str) -> dict[str, str]:
    return {"AGENTMESH_IDENTITY__API_KEY": keys.service(service)}
