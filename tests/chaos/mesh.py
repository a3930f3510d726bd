"""A mesh whose every process can be killed by hand: PostgreSQL, services, agents, clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from agentmesh.stack.composition import SERVICES, Composition, Ports, database_name
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
from tests.chaos import agent, client, clock
from tests.chaos.cutter import CommitCutter

LEASE: Final = 4.0
"""Seconds that a lease lasts: agents that were killed are found out soon."""

REPLICAS: Final = ("task-0", "task-1")
_NEEDED: Final = ("auth", "registry", "analytics")
_START_TRIES: Final = 5
_SLOTS: Final = 60
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
    "AGENTMESH_LOG__LEVEL": "WARNING",
    "AGENTMESH_GRPC__DRAIN_DELAY": "0",
}


@dataclass
class Worker:
    """A client or an agent: a process that is started with its orders."""

    name: str
    module: str
    variable: str
    orders: Any
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        environment = {**os.environ, self.variable: json.dumps(asdict(self.orders))}
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module), env=environment, stdout=output, stderr=output
            )

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()


class ChaosMesh:
    """All processes of a run."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self.places = DataDirectory(directory / "data")
        self.postgres = EmbeddedPostgres(
            self.places.postgres,
            log_path=self.places.log("postgres"),
            settings={"max_wal_size": "2GB"},
        )
        self.services: dict[str, ChildProcess] = {}
        self.workers: dict[str, Worker] = {}
        self.key = ""
        self.cutter = CommitCutter(directory / "cut", Path(self.postgres.address))
        self._programs: dict[str, Program] = {}
        self._ports: dict[str, int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run PostgreSQL and the services; everything is killed at the end."""
        self.places.prepare()
        async with AsyncExitStack() as cleanup:
            await self.postgres.start()
            cleanup.push_async_callback(self.postgres.kill)
            await cleanup.enter_async_context(self.cutter)
            cleanup.push_async_callback(self._end)
            await self._prepare()
            await asyncio.gather(*(self.start_service(name) for name in _NEEDED))
            # One after the other: the first one migrates.
            for replica in REPLICAS:
                await self.start_service(replica)
            yield

    def targets(self) -> list[str]:
        """Return where the replicas of task listen."""
        return [self.target(replica) for replica in REPLICAS]

    def target(self, name: str) -> str:
        """Return where a service listens."""
        return f"{LOOPBACK}:{self._ports[name]}"

    async def start_service(self, name: str, failpoints: str = "") -> None:
        """Start a service, perhaps with failpoints armed, and wait until it is ready.

        Raises:
            StackError: It doesn't get ready; with failpoints it may have died of them.
        """
        program = self._programs[name]
        environment = {**program.env, FAILPOINTS: failpoints}
        armed = Program(name, program.address, program.command, environment, program.is_ready)
        child = ChildProcess(armed, log=LogFile(self.places.log(name)), cwd=self.places.run)
        self.services[name] = child
        for attempt in range(1, _START_TRIES + 1):
            try:
                await child.start()
            except StackError:
                # While the database is away, a service can't start.
                if failpoints or attempt == _START_TRIES:
                    raise
            else:
                return

    def signal_service(self, name: str, number: int) -> None:
        """Send a signal to a service."""
        if (pid := self.services[name].pid) is not None:
            os.kill(pid, number)

    async def kill_service(self, name: str) -> None:
        """Kill a service as kill -9 does."""
        await self.services[name].kill()

    def employ(self, *, agents: int, clients: int, tasks: int, rate: float) -> None:
        """Name the agents, and the clients that share the tasks and the rate among them."""
        directory, registry = str(self.directory), self.target("registry")
        for number in range(agents):
            orders = agent.Orders(number, _SLOTS, self.targets(), registry, self.key, directory)
            self._add_worker(f"agent-{number}", "tests.chaos.agent", agent.VARIABLE, orders)
        for number in range(clients):
            share = tasks // clients + (number < tasks % clients)
            wanted = client.Orders(
                self.seed, number, share, self.targets(), self.key, directory, rate / clients
            )
            self._add_worker(f"client-{number}", "tests.chaos.client", client.VARIABLE, wanted)

    def agents(self) -> list[Worker]:
        """Return the agents."""
        return [each for name, each in self.workers.items() if name.startswith("agent")]

    def clients(self) -> list[Worker]:
        """Return the clients."""
        return [each for name, each in self.workers.items() if name.startswith("client")]

    async def move_clock(self, seconds: float) -> None:
        """Move the clock of the task database on."""
        await self._with_database(lambda each: clock.move(each, seconds))

    async def sever_writers(self) -> None:
        """End the sessions of the replicas' writers."""
        await self._with_database(lambda each: each.execute(_SEVER))

    async def _with_database(self, work: Callable[[Any], Awaitable[None]]) -> None:
        connection = await self.postgres.connect(database_name("task"))
        try:
            await work(connection)
        finally:
            await connection.close()

    def _add_worker(self, name: str, module: str, variable: str, orders: Any) -> None:
        log = self.directory / f"{name}.log"
        self.workers[name] = Worker(name, module, variable, orders, log)

    async def _end(self) -> None:
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
            await worker.kill()
        for service in self.services.values():
            await service.kill()

    async def _prepare(self) -> None:
        for service in SERVICES:
            await self.postgres.create_database(database_name(service))
        await self._with_database(lambda each: clock.prepare(each, database_name("task")))
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
        self.key = keys.admin()
        for name in _NEEDED:
            own = master if name == "auth" else _key(keys, name)
            self._add_program(name, composition.service(name, credentials=_SETTINGS | own))
            self._ports[name] = composition.ports.services[name]
        self._add_replicas(composition, _key(keys, "task"))

    def _add_program(self, name: str, program: Program) -> None:
        self._programs[name] = program

    def _add_replicas(self, composition: Composition, key: dict[str, str]) -> None:
        # The second one reaches its database through the cutter.
        cut_off = self.postgres.url(database_name("task")).replace(
            str(self.postgres.socket_directory), str(self.directory / "cut")
        )
        settings: tuple[dict[str, str], ...] = ({}, {"AGENTMESH_DATABASE__URL": cut_off})
        for name, port, own in zip(REPLICAS, pick_free_ports(2), settings, strict=True):
            self._ports[name] = port
            served = {"AGENTMESH_GRPC__PORT": str(port), "AGENTMESH_METRICS__PORT": "0"}
            environment = composition.service_environment("task") | _SETTINGS | key | served | own
            self._add_program(
                name,
                Program(
                    name,
                    self.target(name),
                    composition.service_command("task"),
                    environment,
                    partial(grpc_is_ready, LOOPBACK, port),
                ),
            )


def _key(keys: Keys, service: str) -> dict[str, str]:
    return {"AGENTMESH_IDENTITY__API_KEY": keys.service(service)}
