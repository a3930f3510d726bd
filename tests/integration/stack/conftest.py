"""A mesh of stand-ins: real processes, real PostgreSQL, nothing else of the product."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentmesh.stack.composition import SERVICES, database_name
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.report import Event, Happening
from tests.integration.stack.servers import FAST, Make, Plant

STANDIN = Path(__file__).parent / "standin.py"
MAIN = "from standin import run\n\nrun({!r})\n"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Make a directory of the test's own.

    Not below pytest's, which every start of another pytest closes to other accounts: root's
    PostgreSQL runs under one.
    """
    with tempfile.TemporaryDirectory(prefix="agentmesh-test-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """Make a directory of a PostgreSQL with the services' databases, as a mesh leaves it.

    But for the tables, which stand-ins don't want; and its server doesn't wait for disks.
    """
    with tempfile.TemporaryDirectory(prefix="agentmesh-test-") as directory:
        server = EmbeddedPostgres(Path(directory) / "data", settings=FAST, durable=False)
        asyncio.run(_fill(server))
        with (server.directory / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = {value}\n" for name, value in FAST.items())
        yield server.directory


async def _fill(server: EmbeddedPostgres) -> None:
    async with server:
        for service in SERVICES:
            await server.create_database(database_name(service))


@pytest.fixture
def plant(cluster: Path) -> Plant:
    """Put a copy of it somewhere, which takes a tenth of the time of making one."""

    def plant(directory: Path) -> None:
        directory.parent.mkdir(mode=0o711, exist_ok=True)
        subprocess.run(["/bin/cp", "-a", str(cluster), str(directory)], check=True)

    return plant


@dataclass
class Standins:
    """Break and mend stand-ins, and read what happened to them."""

    directory: Path

    def do(self, name: str, what: str) -> None:
        """Make a stand-in `broken`, `stubborn` or `unleashed` from its next start on."""
        (self.directory / f"{name}.{what}").touch()

    def mend(self, name: str) -> None:
        """Let a stand-in work again."""
        for path in self.directory.glob(f"{name}.*"):
            path.unlink()

    def history(self) -> list[str]:
        """Return what happened, in order."""
        path = self.directory / "history"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def standins(tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Standins:
    """Put stand-ins in the place of the services and the gateway, over a database that is there."""
    plant(tmp_path / "data" / "postgres")
    directory = tmp_path / "standins"
    for package in (*(f"services/{name}" for name in SERVICES), "gateway"):
        place = directory / package
        place.mkdir(parents=True)
        (place / "__init__.py").touch()
        (place / "__main__.py").write_text(MAIN.format(place.name))
    (directory / "services" / "__init__.py").touch()
    shutil.copy(STANDIN, directory)
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)
    monkeypatch.setenv("STANDIN_DIR", str(directory))
    return Standins(directory)


@pytest.fixture
def from_nothing(tmp_path: Path, standins: Standins) -> None:
    """Have no data directory yet, and so no database either."""
    assert standins.directory.exists()
    shutil.rmtree(tmp_path / "data")


@dataclass
class Report:
    """Keep every event, for a test to look at."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def parts(self, happening: Happening) -> list[str]:
        """Return the parts to which something happened, in order."""
        return [event.part for event in self.events if event.happening is happening]


@pytest.fixture
def report() -> Report:
    """Make a reporter that remembers."""
    return Report()


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until a condition holds, and fail if it doesn't within some seconds."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


@dataclass
class Command:
    """Run the command `agentmesh` on one data directory."""

    data_directory: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and return its process; it is killed at the end of the test."""
        process = subprocess.Popen(
            self._line(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._line(arguments), capture_output=True, text=True, timeout=60, check=False
        )

    def _line(self, arguments: tuple[str, ...]) -> list[str]:
        name, *options = arguments
        directory = str(self.data_directory)
        return [sys.executable, "-m", "agentmesh.cli", name, "--data-dir", directory, *options]


@pytest.fixture
def command(tmp_path: Path, standins: Standins) -> Iterator[Command]:
    """Give the command line, over a mesh of stand-ins."""
    assert standins.directory.exists()
    command = Command(tmp_path / "data")
    yield command
    for process in command.running:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    command.run("down")


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make servers that are stopped at the end of the test."""
    made: list[EmbeddedPostgres] = []

    def make(directory: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, settings=FAST, durable=False))
        return made[-1]

    yield make
    for server in made:
        await server.kill()
