"""Options that several commands have."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from agentmesh.stack.directory import default_data_directory

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        help="Where the mesh keeps its data; $AGENTMESH_DATA_DIR or ~/.agentmesh by default.",
        default_factory=default_data_directory,
        show_default=False,
    ),
]


def naming(data_dir: Path) -> str:
    """Return the option that names a data directory, or nothing for the default one."""
    if data_dir.resolve() == default_data_directory().resolve():
        return ""
    return f" --data-dir {shlex.quote(str(data_dir))}"
