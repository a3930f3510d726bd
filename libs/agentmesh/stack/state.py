"""What a supervisor tells other processes about its mesh: the file run/mesh.json."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class ProcessState(StrEnum):
    """Where a supervised process is in its life."""

    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    DOWN = "down"


class ProcessRecord(BaseModel):
    """Describe one supervised process. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    name: str
    state: ProcessState
    pid: int | None
    address: str
    restarts: int
    started_at: float | None


class MeshState(BaseModel):
    """Describe a mesh and its processes. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    supervisor_pid: int
    started_at: float
    ready: bool
    url: str
    processes: list[ProcessRecord]


def write_state(path: Path, state: MeshState) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(state.model_dump_json(indent=2) + "\n")
    unfinished.chmod(0o600)
    unfinished.replace(path)


def read_state(path: Path) -> MeshState | None:
    """Return what the file says; None if it is missing or can't be understood."""
    try:
        return MeshState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
