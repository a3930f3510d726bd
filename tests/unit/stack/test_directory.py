"""Which directories can be a data directory, and what is said of those that can't."""

import os
import stat
from pathlib import Path

import pytest

from agentmesh.stack.directory import DataDirectory, default_data_directory
from agentmesh.stack.errors import StackError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_made_with_closed_parts(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "deep" / "data")
    directory.prepare()
    assert mode(directory.secrets) == mode(directory.logs) == mode(directory.run) == 0o700
    # Root's database runs under another account, which must be able to pass, and no more.
    assert mode(directory.path) == (0o711 if os.geteuid() == 0 else 0o700)


def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    DataDirectory(tmp_path / "data").prepare()
    DataDirectory(tmp_path / "data").prepare()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(StackError, match="a file is in the way") as failure:
        DataDirectory(tmp_path / "data").prepare()
    assert "--data-dir" in failure.value.remedy


def test_a_file_in_the_way_of_a_parent(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(StackError, match="a file is in the way"):
        DataDirectory(tmp_path / "data" / "below").prepare()


def test_a_directory_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(StackError, match=r"not a data directory of agentmesh.*'holiday.jpg'"):
        DataDirectory(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_directory_whose_making_was_cut_short_is_completed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    DataDirectory(tmp_path).prepare()
    assert (tmp_path / "format").read_text() == "1\n"


def test_a_directory_of_another_format(tmp_path: Path) -> None:
    DataDirectory(tmp_path).prepare()
    (tmp_path / "format").write_text("2\n")
    with pytest.raises(StackError, match="format '2'") as failure:
        DataDirectory(tmp_path).prepare()
    assert "version" in failure.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StackError, match=r"another user \(uid 12345\)"):
        DataDirectory(tmp_path).prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StackError, match="cannot be written: Permission denied"):
            DataDirectory(tmp_path / "data").prepare()
    finally:
        tmp_path.chmod(0o700)


def test_the_default_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMESH_DATA_DIR", "/srv/mesh")
    assert default_data_directory() == Path("/srv/mesh")
    monkeypatch.delenv("AGENTMESH_DATA_DIR")
    assert default_data_directory() == Path("~/.agentmesh").expanduser()
