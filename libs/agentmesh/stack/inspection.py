"""How a running mesh is doing, asked of each of its processes now."""

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel

from agentmesh.stack.composition import GATEWAY
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.errors import StackError
from agentmesh.stack.lock import SupervisorLock
from agentmesh.stack.postgres import EmbeddedPostgres
from agentmesh.stack.readiness import grpc_is_ready, http_is_ready
from agentmesh.stack.state import MeshState, ProcessRecord, ProcessState, read_state

NOT_READY = "not ready"


class ProcessStatus(BaseModel):
    """Describe one process as it answers now."""

    name: str
    state: str
    pid: int | None
    address: str
    uptime_seconds: float | None
    restarts: int


class MeshStatus(BaseModel):
    """Describe a mesh as it answers now."""

    running: bool
    ready: bool
    data_directory: str
    supervisor_pid: int | None = None
    url: str | None = None
    processes: list[ProcessStatus] = []


async def inspect(data_directory: Path) -> MeshStatus:
    """Ask every process of the mesh in a data directory how it is.

    Raises StackError when the directory is closed to this user.
    """
    directory = DataDirectory(data_directory)
    try:
        supervisor = SupervisorLock(directory.lock).holder()
        state = read_state(directory.state)
    except PermissionError:
        raise StackError(
            f"{directory.path} is not yours to read", "ask as the user who started the mesh"
        ) from None
    if supervisor is None:
        return MeshStatus(running=False, ready=False, data_directory=str(directory.path))
    processes = await _ask_all(directory, state) if state else []
    complete = state is not None and state.ready
    return MeshStatus(
        running=True,
        ready=complete and all(process.state == ProcessState.READY for process in processes),
        data_directory=str(directory.path),
        supervisor_pid=supervisor,
        url=state.url if state else None,
        processes=processes,
    )


async def _ask_all(directory: DataDirectory, state: MeshState) -> list[ProcessStatus]:
    return await asyncio.gather(*(_ask(directory, record) for record in state.processes))


async def _ask(directory: DataDirectory, record: ProcessRecord) -> ProcessStatus:
    state: str = record.state
    if record.state is ProcessState.READY and not await _answers(directory, record):
        state = NOT_READY
    up = record.state is ProcessState.READY and record.started_at is not None
    return ProcessStatus(
        name=record.name,
        state=state,
        pid=record.pid,
        address=record.address,
        uptime_seconds=time.time() - record.started_at if up and record.started_at else None,
        restarts=record.restarts,
    )


async def _answers(directory: DataDirectory, record: ProcessRecord) -> bool:
    if record.name == EmbeddedPostgres.name:
        return await EmbeddedPostgres(directory.postgres).is_ready()
    if record.name == GATEWAY:
        address = urlsplit(record.address)
        return await http_is_ready(address.hostname or "", address.port or 0)
    host, _, port = record.address.rpartition(":")
    return await grpc_is_ready(host, int(port))
