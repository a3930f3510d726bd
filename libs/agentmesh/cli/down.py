"""`agentmesh down`: stop the mesh that runs in a data directory."""

import asyncio
from typing import Annotated

import typer

from agentmesh.cli.console import out
from agentmesh.cli.options import DataDir
from agentmesh.stack.extra import require_extra


def down(
    data_dir: DataDir,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until everything has drained.")
    ] = 60.0,
) -> None:
    """Drain and stop the running mesh."""
    require_extra()
    # Only now: this needs the extra.
    from agentmesh.stack.shutdown import Outcome, shut_down  # noqa: PLC0415

    outcome = asyncio.run(shut_down(data_dir, within=timeout))
    sentences = {
        Outcome.STOPPED: "The mesh has stopped.",
        Outcome.CLEANED_UP: "The mesh had been killed; what was left of it has been ended.",
        Outcome.NOT_RUNNING: f"No mesh is running in {data_dir}.",
    }
    out.print(sentences[outcome])
