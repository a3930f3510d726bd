"""Which mesh the demo runs on: one that runs already, or one of its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.errors import StackError
from agentmesh.stack.inspection import inspect
from agentmesh.stack.keys import ADMIN
from agentmesh.stack.report import Event, Happening, Reporter
from agentmesh.stack.secrets import SecretFiles
from agentmesh.stack.stack import Stack

KEEP_LOGS = "run it again with --data-dir DIR, which keeps the logs in DIR/logs"


@dataclass(frozen=True, slots=True)
class Mesh:
    """A running mesh: its URL, its admin's key and its data directory."""

    url: str
    admin_key: str = field(repr=False)
    directory: DataDirectory


@asynccontextmanager
async def mesh_for_demo(
    data_directory: Path | None, *, port: int, reporter: Reporter
) -> AsyncIterator[Mesh]:
    """Give a mesh to run on, and leave things as they were found.

    A mesh that runs in `data_directory` is used, and left running. If none does, one is
    started there and stopped at the end; without a directory, in a temporary one, which is
    removed.

    Raises:
        StackError: There is no mesh to be had, with the remedy.
    """
    if data_directory is None:
        async with _temporary_mesh(port, reporter) as mesh:
            yield mesh
    elif (running := await _running_mesh(data_directory)) is not None:
        reporter(Event(Happening.READY, "mesh", f"{running.url} runs already, and is used"))
        yield running
    else:
        async with _own_mesh(data_directory, port, reporter) as mesh:
            yield mesh


@asynccontextmanager
async def _temporary_mesh(port: int, reporter: Reporter) -> AsyncIterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="agentmesh-", ignore_cleanup_errors=True) as path:
        try:
            async with _own_mesh(Path(path), port, reporter) as mesh:
                yield mesh
        except StackError as error:
            if path not in error.remedy:
                raise
            # What the remedy points to is about to be removed.
            raise StackError(error.message, KEEP_LOGS) from None


@asynccontextmanager
async def _own_mesh(data_directory: Path, port: int, reporter: Reporter) -> AsyncIterator[Mesh]:
    stack = Stack(data_directory, port=port, reporter=reporter)
    try:
        await stack.start()
        yield Mesh(stack.url, stack.admin_key, DataDirectory(data_directory))
    finally:
        try:
            await stack.stop()
        except asyncio.CancelledError:
            await stack.kill()
            raise


async def _running_mesh(data_directory: Path) -> Mesh | None:
    directory = DataDirectory(data_directory)
    status = await inspect(data_directory)
    if not status.running:
        return None
    admin_key = SecretFiles(directory.secrets).read(ADMIN)
    if not status.ready or not status.url or not admin_key:
        raise StackError(
            f"the mesh in {directory.path} runs, but is not ready",
            "wait until it is (look with: agentmesh status), or leave out --data-dir",
        )
    return Mesh(status.url, admin_key, directory)
