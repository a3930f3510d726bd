"""The embedded PostgreSQL: its data survives, and unfit directories are named."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from agentmesh.stack.postgres import MAX_SOCKET_PATH_BYTES, EmbeddedPostgres
from tests.integration.stack.servers import FAST, Make, Plant

RUN_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from agentmesh.stack.postgres import EmbeddedPostgres

async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
    await postgres.start()
    await postgres.create_database("kept")
    print(postgres.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_database_is_reached_by_its_url(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "a path, with 'oddities' & é" / "data")
    server.directory.parent.mkdir()
    await server.start()
    assert await server.create_database("the mesh")
    assert not await server.create_database("the mesh")
    engine = create_async_engine(server.url("the mesh"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_database()")) == "the mesh"
        assert await connection.scalar(text("SHOW fsync")) == "off"
        assert await connection.scalar(text("SHOW listen_addresses")) == ""
        assert await connection.scalar(text("SHOW max_connections")) == "200"
    await engine.dispose()
    assert await server.drop_database("the mesh")
    assert not await server.drop_database("the mesh")


async def test_a_template_is_cloned(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.create_database("template")
    connection = await server.connect("template")
    await connection.execute("CREATE TABLE kept (value int)")
    await connection.close()
    await server.create_database("clone", template="template")
    connection = await server.connect("clone")
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()


async def test_data_survives_stops_and_kills(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    first_made = server.created
    connection = await server.connect()
    await connection.execute("CREATE TABLE kept (value int)")
    await connection.close()
    await server.stop()
    await server.start()
    assert (first_made, server.created) == (True, False)
    connection = await server.connect()
    await connection.execute("INSERT INTO kept VALUES (1)")
    os.kill(server.pid or 0, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    connection.terminate()
    await server.start()
    connection = await server.connect()
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1
    await connection.close()


async def test_stopping_ends_open_sessions_and_repeats_harmlessly(
    tmp_path: Path, make: Make
) -> None:
    server = make(tmp_path / "data")
    await server.stop()
    await server.start()
    connection = await server.connect()
    await server.stop()
    words = server.log.path.read_text()
    # Sessions are ended, and not waited for until the patience is over.
    assert "received fast shutdown request" in words
    assert "received immediate shutdown request" not in words
    connection.terminate()
    await server.stop()
    assert not await server.is_ready()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_it_ends_with_the_process_that_started_it(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    with _starter(server.directory) as starter:
        pid = _read_pid(starter)
        starter.kill()
    async with asyncio.timeout(60):
        while _runs(pid):
            await asyncio.sleep(0.05)
    await _holds_what_was_kept(server)


async def test_a_server_left_behind_is_replaced(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    with _starter(server.directory) as starter:
        left_behind = _read_pid(starter)
        # A session keeps the server from following the signal of its starter's end.
        session = await server.connect()
        starter.kill()
    assert _runs(left_behind)
    await _holds_what_was_kept(server)
    assert server.pid != left_behind
    assert not _runs(left_behind)
    session.terminate()


@pytest.mark.parametrize("content", ["", "\n", "nonsense", "{pid}\n", "{pid}\n/elsewhere\n1\n5432"])
async def test_a_stale_pid_file_is_no_obstacle(
    tmp_path: Path, make: Make, plant: Plant, content: str
) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
    # Our own pid: alive, of the same user if it isn't root's, and no PostgreSQL.
    (server.directory / "postmaster.pid").write_text(content.format(pid=os.getpid()))
    await server.start()
    assert await server.is_ready()


async def test_a_making_that_was_cut_short_is_begun_anew(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    (tmp_path / "data.unfinished" / "base").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    await server.start()
    assert server.created
    assert not (tmp_path / "data.unfinished").exists()


async def test_a_path_too_long_for_a_socket(tmp_path: Path, make: Make) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server = make(deep / "data")
    await server.start()
    assert await server.is_ready()
    assert len(server.address) <= MAX_SOCKET_PATH_BYTES
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    await server.stop()
    assert not server.socket_directory.exists()


def test_a_server_outlives_the_event_loop_that_started_it(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", settings=FAST, durable=False)
    asyncio.run(server.start())
    assert asyncio.run(server.is_ready())
    asyncio.run(server.stop())
    assert server.pid is None


def _starter(directory: Path) -> subprocess.Popen[bytes]:
    """Start a process that runs a server and says its pid once that is ready."""
    command = [sys.executable, "-c", RUN_UNTIL_KILLED, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _read_pid(starter: subprocess.Popen[bytes]) -> int:
    assert starter.stdout is not None
    return int(starter.stdout.readline())


def _runs(pid: int) -> bool:
    # In a container whose first process doesn't reap, an orphan that ended stays a zombie.
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _holds_what_was_kept(server: EmbeddedPostgres) -> None:
    await server.start()
    assert not server.created
    assert not await server.create_database("kept")
