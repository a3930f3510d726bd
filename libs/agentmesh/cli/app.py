"""The command line: every command is a function of its own module, registered here.

Commands import the stack when they run: `agentmesh version` works without the extra `up`.
"""

from typing import Annotated

import typer

from agentmesh.cli.audit import audit
from agentmesh.cli.demo import demo
from agentmesh.cli.down import down
from agentmesh.cli.key import key
from agentmesh.cli.role import role
from agentmesh.cli.status import status
from agentmesh.cli.up import up
from agentmesh.cli.version import show_and_exit, version

app = typer.Typer(
    name="agentmesh",
    help="The control plane for fleets of AI agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (up, status, down, demo, version):
    app.command()(command)
for group in (key, role, audit):
    app.add_typer(group)


@app.callback()
def agentmesh(
    _: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=show_and_exit, is_eager=True),
    ] = False,
) -> None:
    """The control plane for fleets of AI agents."""
