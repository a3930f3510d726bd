"""A real PostgreSQL in a directory, reached over a private Unix socket only."""

import asyncio
import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import asyncpg

from agentmesh.stack.account import Account, database_account
from agentmesh.stack.cluster import SUPERUSER, Cluster, binary, environment
from agentmesh.stack.errors import StackError
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.postmaster import (
    FAST_SHUTDOWN,
    IMMEDIATE_SHUTDOWN,
    find_survivor,
    stop_survivor,
)
from agentmesh.stack.spawn import describe_exit, exits_within, spawn, wait_for_exit

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# The address of a Unix socket holds 108 bytes on Linux and 104 on macOS, with its last zero.
MAX_SOCKET_PATH_BYTES = 103
CONNECT_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.05

DEFAULT_SETTINGS: Final[Mapping[str, str]] = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# What a server says while processes of one that was killed are still letting go.
STILL_IN_USE = ("pre-existing shared memory block", "Is another postmaster")


class EmbeddedPostgres:
    """Run one PostgreSQL server on one data directory, as a child of this process.

    The data survives stops, kill -9 and restarts. Works as root, in which case the server
    runs under an account of its own, and as an ordinary user. It isn't tied to one event
    loop: a server started in one may be used and stopped in another. On Linux it shuts down
    by itself when the thread that started it ends.

    `durable=False` and settings such as `{"fsync": "off"}` trade safety for speed in tests.
    Two servers on one directory are the caller's to prevent.
    """

    name = "postgres"

    def __init__(
        self,
        directory: Path,
        *,
        log_path: Path | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        self.directory = directory.absolute()
        self.log = LogFile(log_path or self.directory.with_name(self.directory.name + ".log"))
        self.created = False
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._durable = durable
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket_directory(self) -> Path:
        """Return where the server's socket is: its directory, if a client can be given that.

        It can't if the path is too long, or if a comma makes clients see two hosts in it.
        """
        length = len(os.fsencode(self.directory / SOCKET_NAME))
        if length <= MAX_SOCKET_PATH_BYTES and "," not in str(self.directory):
            return self.directory
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"agentmesh-postgres-{digest}"  # noqa: S108 - its owner is checked

    @property
    def address(self) -> str:
        """Return the path of the socket."""
        return str(self.socket_directory / SOCKET_NAME)

    @property
    def pid(self) -> int | None:
        """Return the pid of the running server, or None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL (asyncpg) of a database."""
        host = quote(str(self.socket_directory))
        return f"postgresql+asyncpg://{SUPERUSER}@/{quote(database, safe='')}?host={host}"

    async def start(self, within: float = 120.0) -> None:
        """Make the data directory if need be, start the server, wait until it answers.

        A server that an earlier run left behind is shut down first. `within` is in seconds
        and has room for recovery after a crash. `created` then tells whether the data
        directory is new. Raises StackError with the server's own words if it can't start.
        """
        deadline = time.monotonic() + within
        account = database_account()
        cluster = Cluster(self.directory, account, durable=self._durable)
        self.log.path.parent.mkdir(parents=True, exist_ok=True)
        self.created = await cluster.prepare(self.log)
        await stop_survivor(self.directory, within)
        self._make_socket_directory(account)
        while not await self._launch(account, deadline):  # noqa: ASYNC110 - tried again, not polled
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self) -> int:
        """Wait until the server has ended and return its exit code."""
        if self._child is None:
            raise RuntimeError("the server was not started")
        return await wait_for_exit(self._child)

    async def stop(self, within: float = 30.0) -> None:
        """Shut down: end sessions, write everything, stop. Do nothing if it isn't running.

        A server that takes longer than `within` seconds is stopped at once; it then recovers
        from its log at the next start, so nothing committed is lost either way.
        """
        await self._signal_and_wait(FAST_SHUTDOWN, within)
        await self.kill()
        if self.socket_directory != self.directory:
            with contextlib.suppress(OSError):
                self.socket_directory.rmdir()

    async def kill(self, within: float = 5.0) -> None:
        """Stop at once, the hard way after `within` seconds; the next start recovers."""
        await self._signal_and_wait(IMMEDIATE_SHUTDOWN, within)
        await self._signal_and_wait(signal.SIGKILL, within)

    async def is_ready(self) -> bool:
        """Tell whether a server, of this process or another, answers on the socket."""
        try:
            connection = await self.connect()
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    async def connect(self, database: str = "postgres") -> Any:
        """Open an asyncpg connection as the superuser; the caller closes it."""
        return await asyncpg.connect(
            host=str(self.socket_directory),
            port=PORT,
            user=SUPERUSER,
            database=database,
            timeout=CONNECT_TIMEOUT_SECONDS,
        )

    async def create_database(self, name: str, *, template: str | None = None) -> bool:
        """Create a database, from a template if one is named; return False if it exists."""
        statement = f"CREATE DATABASE {_quoted(name)}"
        if template is not None:
            statement += f" TEMPLATE {_quoted(template)}"
        return await self._run(statement, unless=asyncpg.DuplicateDatabaseError)

    async def drop_database(self, name: str) -> bool:
        """Drop a database and end its sessions; return False if there was none."""
        statement = f"DROP DATABASE {_quoted(name)} WITH (FORCE)"
        return await self._run(statement, unless=asyncpg.InvalidCatalogNameError)

    async def stop_left_behind(self, within: float = 30.0) -> bool:
        """Shut down a server of an earlier process; return whether there was one."""
        if find_survivor(self.directory) is None:
            return False
        return await stop_survivor(self.directory, within)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _run(self, statement: str, *, unless: type[Exception]) -> bool:
        connection = await self.connect()
        try:
            await connection.execute(statement)
        except unless:
            return False
        finally:
            await connection.close()
        return True

    async def _launch(self, account: Account | None, deadline: float) -> bool:
        self._child = spawn(
            self._command(),
            env=environment(),
            log=self.log,
            cwd=Path("/"),
            account=account,
            # A smart shutdown: services that drain keep the sessions they have.
            death_signal=signal.SIGTERM,
        )
        try:
            return await self._answers(self._child, deadline)
        except BaseException:
            await self.kill()
            raise

    async def _answers(self, child: subprocess.Popen[bytes], deadline: float) -> bool:
        while time.monotonic() < deadline:
            if (code := child.poll()) is not None:
                if self._is_still_in_use():
                    return False
                raise self._cannot_start(describe_exit(code))
            if await self.is_ready():
                return True
            await asyncio.sleep(POLL_SECONDS)
        raise self._cannot_start("does not answer")

    def _is_still_in_use(self) -> bool:
        words = "\n".join(self.log.tail())
        return any(phrase in words for phrase in STILL_IN_USE)

    def _cannot_start(self, what: str) -> StackError:
        return StackError(
            f"PostgreSQL {what}:\n" + "\n".join(f"  {line}" for line in self.log.tail(6)),
            f"see {self.log.path}; if the data is damaged, restore {self.directory} from a "
            "backup or start with a new data directory (--data-dir)",
        )

    def _command(self) -> list[str]:
        fixed = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": _quoted(str(self.socket_directory)),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        settings = {**self._settings, **fixed}
        options = [option for item in settings.items() for option in ("-c", "=".join(item))]
        return [binary("postgres"), "-D", str(self.directory), *options]

    def _make_socket_directory(self, account: Account | None) -> None:
        directory = self.socket_directory
        if directory == self.directory:
            return
        directory.mkdir(mode=0o700, exist_ok=True)
        if account and directory.lstat().st_uid == 0:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
        status = directory.lstat()
        owner = account.uid if account else os.geteuid()
        if status.st_uid != owner or stat.S_IMODE(status.st_mode) != 0o700:
            raise StackError(
                f"{directory}, the place for PostgreSQL's socket, belongs to someone else",
                "remove it, or choose a data directory with a shorter path (--data-dir)",
            )

    async def _signal_and_wait(self, number: signal.Signals, within: float) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)
            await exits_within(self._child, within)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
