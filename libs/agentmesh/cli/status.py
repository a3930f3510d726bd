"""`agentmesh status`: say how the running mesh is doing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from agentmesh.cli.console import err, out
from agentmesh.cli.options import DataDir, naming
from agentmesh.stack.extra import require_extra

WIDTH_OF_A_FILE = 200

if TYPE_CHECKING:
    from agentmesh.stack.inspection import MeshStatus, ProcessStatus


def status(
    data_dir: DataDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every process of the mesh; exit with 0 only if all are ready."""
    require_extra()
    # Only now: this needs the extra.
    from agentmesh.stack.inspection import inspect  # noqa: PLC0415

    mesh = asyncio.run(inspect(data_dir))
    if as_json:
        out.print(mesh.model_dump_json(indent=2), markup=False)
    elif not mesh.running:
        err.print(f"No mesh is running in {mesh.data_directory}.")
        err.print(f"Start it with: agentmesh up{naming(data_dir)}")
    else:
        _show(mesh)
    raise typer.Exit(0 if mesh.ready else 1)


def _show(mesh: MeshStatus) -> None:
    where = mesh.url or "an address not chosen yet"
    out.print(f"{where}  data {mesh.data_directory}  supervisor pid {mesh.supervisor_pid}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("process", "state", "pid", "address", "uptime", "restarts"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "address")
    for process in mesh.processes:
        table.add_row(*_row(process))
    out.print(table, soft_wrap=False, width=None if out.is_terminal else WIDTH_OF_A_FILE)


def _row(process: ProcessStatus) -> tuple[str, ...]:
    colour = "green" if process.state == "ready" else "yellow"
    uptime = process.uptime_seconds
    return (
        process.name,
        f"[{colour}]{process.state}[/]",
        str(process.pid or "-"),
        process.address,
        "-" if uptime is None else str(timedelta(seconds=int(uptime))),
        str(process.restarts),
    )
