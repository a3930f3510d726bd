"""The file by which a supervisor tells about its mesh."""

import stat
from pathlib import Path

import pytest

from agentmesh.stack.state import MeshState, ProcessRecord, ProcessState, read_state, write_state

TASK = ProcessRecord(
    name="task",
    state=ProcessState.BACKING_OFF,
    pid=None,
    address="127.0.0.1:20000",
    restarts=3,
    started_at=1.5,
)
STATE = MeshState(
    supervisor_pid=42, started_at=1.0, ready=True, url="http://127.0.0.1:8080", processes=[TASK]
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_state(tmp_path / "mesh.json", STATE)
    assert read_state(tmp_path / "mesh.json") == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.json"]
    assert stat.S_IMODE((tmp_path / "mesh.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor_pid": "x"}', "\x00\xff"])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "mesh.json").write_text(content)
    assert read_state(tmp_path / "mesh.json") is None


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path / "mesh.json") is None
