"""A further process of a running mesh's task service, on the same database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from agentmesh.stack.composition import SERVICES, Composition, Ports
from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.keys import Keys
from agentmesh.stack.log_file import LogFile
from agentmesh.stack.ports import LOOPBACK, pick_free_ports
from agentmesh.stack.process import ChildProcess
from agentmesh.stack.secrets import SecretFiles
from bench.mesh_store import SETTINGS, MeshStore

NAME = "task"


@asynccontextmanager
async def further_replica(mesh: MeshStore, path: Path) -> AsyncIterator[str]:
    """Run the process for the mesh of this data directory; gives its `host:port`."""
    directory = DataDirectory(path)
    port, metrics = pick_free_ports(2)
    services = {name: int(mesh.address(name).rpartition(":")[2]) for name in SERVICES}
    composition = Composition(
        host=LOOPBACK,
        ports=Ports(0, 0, services | {NAME: port}, {NAME: metrics}),
        data_directory=directory.path,
        gateway_work=directory.gateway_work,
        database_url=mesh.postgres().url,
    )
    keys = Keys(SecretFiles(directory.secrets), create_key=(), environment={}, cwd=directory.run)
    key = {"AGENTMESH_IDENTITY__API_KEY": keys.service(NAME)}
    program = replace(composition.service(NAME, credentials=SETTINGS | key), name="further replica")
    process = ChildProcess(program, log=LogFile(directory.log("task-2")), cwd=directory.run)
    await process.start()
    try:
        yield program.address
    finally:
        await process.stop()
