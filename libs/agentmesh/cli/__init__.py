"""The command `agentmesh`: one module for each command, gathered in `agentmesh.cli.app`."""

import sys

from agentmesh.cli.app import app
from agentmesh.cli.console import show_error
from agentmesh.stack.errors import StackError


def main() -> None:
    """Run the command line; an expected failure is told with its remedy, and exits with 1."""
    try:
        app()
    except StackError as error:
        show_error(error)
        sys.exit(1)
