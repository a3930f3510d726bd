"""`agentmesh up`: run a mesh on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agentmesh.cli.options import DataDir
from agentmesh.stack.extra import require_extra


def up(
    data_dir: DataDir,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the gateway; 0 for any free one.")
    ] = 8080,
    host: Annotated[
        str, typer.Option(help="IP address of the gateway; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once the mesh is up; it runs on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", hidden=True)] = False,
) -> None:
    """Run a mesh: PostgreSQL, five services and the gateway, until Ctrl-C."""
    require_extra()
    # Only now: these need the extra.
    from agentmesh.cli.detached import run_detached  # noqa: PLC0415
    from agentmesh.cli.foreground import run_in_foreground  # noqa: PLC0415

    path = Path(data_dir)
    if detach:
        run_detached(path, host=host, port=port)
    else:
        code = asyncio.run(run_in_foreground(path, host=host, port=port, quiet=quiet))
        raise typer.Exit(code)
