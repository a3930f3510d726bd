"""The supervisor: one mesh, from its database to its gateway, in one data directory."""

import asyncio
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from agentmesh.stack.composition import GATEWAY, SERVICES, Composition, Ports, database_name
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.errors import StackError
from agentmesh.stack.keys import ADMIN, Keys
from agentmesh.stack.lock import SupervisorLock
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.orphans import end_orphans
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.process import ChildProcess, Program
from agentmesh.stack.report import Event, Happening, Reporter, ignore
from agentmesh.stack.secrets import MASTER, SecretFiles
from agentmesh.stack.state import MeshState, write_state
from agentmesh.stack.supervision import Supervision

AUTH = "auth"


class Stack:
    """Run a mesh as children of this process, and keep it running.

    Use it as `async with Stack(path) as stack:`, or call `start`, `wait` and `stop`. The
    data directory is this process's until `stop` is done. `port` 0 picks a free one.

    Attributes:
        url: where the gateway answers, once started.
        admin_key: the admin's API key, once started.
        admin_key_path: the file in which that key is kept.
        first_start: whether this start made the admin's key.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        reporter: Reporter = ignore,
    ) -> None:
        self.url = ""
        self.admin_key = ""
        self.first_start = False
        self._directory = DataDirectory(data_directory)
        self._secrets = SecretFiles(self._directory.secrets)
        self.admin_key_path = self._secrets.path(ADMIN)
        self._lock = SupervisorLock(self._directory.lock)
        self._host = host
        self._port = port
        self._report = reporter
        self._postgres = EmbeddedPostgres(
            self._directory.postgres, log_path=self._directory.log("postgres")
        )
        self._supervisions: dict[str, Supervision] = {}
        self._started_at = 0.0
        self._ready = False

    async def start(self) -> None:
        """Bring everything up, each part once those it needs are ready.

        Raises StackError when that can't be done; call `stop` then too, to end what did start.
        """
        self._directory.prepare()
        self._lock.acquire()
        self._started_at = time.time()
        await self._end_earlier_run()
        composition = self._compose()
        self._write_state()
        await self._start_postgres()
        programs = await self._programs(composition)
        # The gateway needs none of the services to start, only to be of use.
        await self._start_together([*programs, composition.gateway()])
        self._ready = True
        self._write_state()

    async def wait(self) -> None:
        """Wait until the mesh is stopped, by `stop` in another task."""
        watches = [each.watch for each in self._supervisions.values() if each.watch]
        done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        for watch in done:
            if not watch.cancelled():
                watch.result()

    async def stop(self) -> None:
        """Drain: the gateway, the services, auth, which takes their records, then PostgreSQL."""
        if not self._lock.held:
            return
        self._ready = False
        for layer in self._by_layer():
            await asyncio.gather(*(supervision.stop() for supervision in layer))
        self._leave()

    async def kill(self) -> None:
        """End everything at once; PostgreSQL recovers at the next start."""
        if not self._lock.held:
            return
        for layer in self._by_layer():
            await asyncio.gather(*(supervision.kill() for supervision in layer))
        self._leave()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _end_earlier_run(self) -> None:
        count = await end_orphans(self._directory.path)
        survived = await self._postgres.stop_left_behind()
        if count or survived:
            self._report(
                Event(
                    Happening.NOTICE,
                    "stack",
                    f"ended {count + survived} process(es) of an earlier run that was killed",
                )
            )

    def _compose(self) -> Composition:
        composition = Composition(
            host=self._host,
            ports=Ports.pick(self._host, self._port),
            data_directory=self._directory.path,
            gateway_work=self._directory.gateway_work,
            database_url=self._postgres.url,
        )
        self.url = composition.url
        return composition

    async def _start_postgres(self) -> None:
        self._postgres.log.rotate()
        self._check_completeness()
        await self._supervise(self._postgres, attempts=1).start()
        for service in SERVICES:
            await self._postgres.create_database(database_name(service))

    def _check_completeness(self) -> None:
        """Refuse a directory of which a part was lost: a new one in its place wouldn't fit."""
        database, master_key = self._directory.postgres, self._secrets.path(MASTER)
        for kept, lost in ((self.admin_key_path, master_key), (master_key, database)):
            if kept.exists() and not lost.exists():
                raise StackError(
                    f"the data directory is incomplete: {lost} is missing",
                    "restore it from a backup, or start with a new data directory (--data-dir)",
                )

    async def _programs(self, composition: Composition) -> list[Program]:
        master_key = self._secrets.read(MASTER) or self._secrets.make_master_key()
        auth_credentials = {"AGENTMESH_AUTH__MASTER_KEY": master_key}
        keys = Keys(
            self._secrets,
            create_key=composition.service_command(AUTH, "create-key"),
            environment=composition.service_environment(AUTH) | auth_credentials,
            cwd=self._directory.run,
        )
        service_keys = await self._ensure_keys(keys)
        return [
            composition.service(AUTH, credentials=auth_credentials),
            *(
                composition.service(service, credentials={"AGENTMESH_IDENTITY__API_KEY": key})
                for service, key in service_keys.items()
            ),
        ]

    async def _ensure_keys(self, keys: Keys) -> dict[str, str]:
        begun = time.monotonic()
        self._report(Event(Happening.STARTING, "keys"))
        others = [service for service in SERVICES if service != AUTH]
        self.first_start = await keys.ensure(others)
        self.admin_key = keys.admin()
        taken = time.monotonic() - begun
        detail = "made" if self.first_start else "as before"
        self._report(Event(Happening.READY, "keys", detail, taken))
        return {service: keys.service(service) for service in others}

    async def _start_together(self, programs: list[Program]) -> None:
        supervisions = [self._supervise(self._child(program)) for program in programs]
        try:
            async with asyncio.TaskGroup() as group:
                for supervision in supervisions:
                    group.create_task(supervision.start())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _child(self, program: Program) -> ChildProcess:
        log = LogFile(self._directory.log(program.name))
        log.rotate()
        return ChildProcess(program, log=log, cwd=self._directory.run)

    def _supervise(self, part: ChildProcess | EmbeddedPostgres, attempts: int = 3) -> Supervision:
        supervision = Supervision(
            part, reporter=self._report, changed=self._write_state, attempts=attempts
        )
        self._supervisions[part.name] = supervision
        return supervision

    def _by_layer(self) -> tuple[list[Supervision], ...]:
        """Return the parts in the order in which they stop."""
        named = self._supervisions.items()
        return (
            [supervision for name, supervision in named if name == GATEWAY],
            [supervision for name, supervision in named if name in SERVICES and name != AUTH],
            [supervision for name, supervision in named if name == AUTH],
            [supervision for name, supervision in named if name == EmbeddedPostgres.name],
        )

    def _write_state(self) -> None:
        state = MeshState(
            supervisor_pid=os.getpid(),
            started_at=self._started_at,
            ready=self._ready,
            url=self.url,
            processes=[supervision.record() for supervision in self._supervisions.values()],
        )
        try:
            write_state(self._directory.state, state)
        except OSError as error:
            # A full disk must not end the supervision.
            problem = f"cannot write {self._directory.state}: {error.strerror}"
            self._report(Event(Happening.NOTICE, "stack", problem))

    def _leave(self) -> None:
        self._directory.state.unlink(missing_ok=True)
        self._lock.release()
