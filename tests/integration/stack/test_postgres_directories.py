"""What the embedded PostgreSQL refuses and closes: unfit directories, other users, the network."""

import os
import pwd
import socket
import stat
from pathlib import Path

import psutil
import pytest

from agentmesh.stack.account import DATABASE_ACCOUNT
from agentmesh.stack.errors import StackError
from tests.integration.stack.servers import Make, Plant


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


async def test_a_directory_of_another_version(tmp_path: Path, make: Make, plant: Plant) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
    (server.directory / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match="made by PostgreSQL 16") as failure:
        await server.start()
    assert "pg_dump" in failure.value.remedy


@pytest.mark.parametrize("content", [None, "", "x", "18.1.2"])
async def test_a_directory_without_a_version(
    tmp_path: Path, make: Make, plant: Plant, content: str | None
) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
    (server.directory / "PG_VERSION").unlink()
    if content is not None:
        (server.directory / "PG_VERSION").write_text(content)
        os.chown(server.directory / "PG_VERSION", server.directory.stat().st_uid, -1)
    with pytest.raises(StackError, match="is damaged") as failure:
        await server.start()
    assert "backup" in failure.value.remedy


async def test_damaged_data_is_told_in_the_words_of_postgresql(
    tmp_path: Path, make: Make, plant: Plant
) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
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
async def test_a_directory_of_another_user(tmp_path: Path, make: Make, plant: Plant) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
    os.chown(server.directory, 12345, 12345)
    with pytest.raises(StackError, match="belongs to another user"):
        await server.start()


async def test_an_open_directory_is_closed(tmp_path: Path, make: Make, plant: Plant) -> None:
    server = make(tmp_path / "data")
    plant(server.directory)
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


def _status(path: str) -> os.stat_result:
    return Path(path).stat()


def _listens_on_tcp(pid: int) -> bool:
    return any(
        connection.family in {socket.AF_INET, socket.AF_INET6}
        for connection in psutil.Process(pid).net_connections("inet")
    )
