"""The embedded PostgreSQL: its data survives, and unfit directories are named."""

import asyncio
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from agentmesh.stack.account import DATABASE_ACCOUNT
from agentmesh.stack.errors import StackError
from agentmesh.stack.postgres import MAX_SOCKET_PATH_BYTES, EmbeddedPostgres

FAST = {"fsync": "off"}
Make = Callable[[Path], EmbeddedPostgres]

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
    begun = time.monotonic()
    await server.stop()
    assert time.monotonic() - begun < 10
    connection.terminate()
    await server.stop()
    assert not await server.is_ready()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_it_ends_with_the_process_that_started_it(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    with _starter(server.directory) as starter:
        pid = _read_pid(starter)
        starter.kill()
    async with asyncio.timeout(20):
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
async def test_a_stale_pid_file_is_no_obstacle(tmp_path: Path, make: Make, content: str) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
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


async def test_a_socket_directory_that_another_user_took(tmp_path: Path, make: Make) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    server = make(deep / "data")
    server.socket_directory.mkdir(mode=0o777)
    server.socket_directory.chmod(0o777)
    try:
        with pytest.raises(StackError, match="belongs to someone else"):
            await server.start()
    finally:
        server.socket_directory.rmdir()


async def test_a_directory_of_another_version(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
    (server.directory / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match="made by PostgreSQL 16") as failure:
        await server.start()
    assert "pg_dump" in failure.value.remedy


@pytest.mark.parametrize("content", [None, "", "x", "18.1.2"])
async def test_a_directory_without_a_version(
    tmp_path: Path, make: Make, content: str | None
) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
    (server.directory / "PG_VERSION").unlink()
    if content is not None:
        (server.directory / "PG_VERSION").write_text(content)
        os.chown(server.directory / "PG_VERSION", server.directory.stat().st_uid, -1)
    with pytest.raises(StackError, match="is damaged") as failure:
        await server.start()
    assert "backup" in failure.value.remedy


async def test_damaged_data_is_told_in_the_words_of_postgresql(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
    (server.directory / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(
        StackError, match=r"exited with code 1:\n(.|\n)*incompatible with server"
    ) as failure:
        await server.start()
    assert str(server.log.path) in failure.value.remedy


async def test_a_file_in_the_way(tmp_path: Path, make: Make) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StackError, match="is a file"):
        await make(tmp_path / "data").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
async def test_a_directory_of_another_user(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
    os.chown(server.directory, 12345, 12345)
    with pytest.raises(StackError, match="belongs to another user"):
        await server.start()


async def test_an_open_directory_is_closed(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    await server.stop()
    server.directory.chmod(0o755)
    await server.start()
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700


async def test_nobody_else_reaches_the_socket(tmp_path: Path, make: Make) -> None:
    server = make(tmp_path / "data")
    await server.start()
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    status = _status(server.address)
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o700
    owner = pwd.getpwuid(status.st_uid).pw_name
    assert owner == (DATABASE_ACCOUNT if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    assert server.pid is not None
    assert not _listens_on_tcp(server.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="root's server runs under another account")
async def test_root_keeps_data_in_a_closed_place(tmp_path: Path, make: Make) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = make(closed / "data")
    await server.start()
    assert await server.is_ready()
    assert stat.S_IMODE(closed.stat().st_mode) & 0o007 == 0


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


def _status(path: str) -> os.stat_result:
    return Path(path).stat()


def _listens_on_tcp(pid: int) -> bool:
    return any(
        connection.family in {socket.AF_INET, socket.AF_INET6}
        for connection in psutil.Process(pid).net_connections("inet")
    )
