"""What the commands print to: plain lines, coloured where a terminal shows colour."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentmesh.stack.errors import StackError


class LastingConsole(Console):
    """Print until nobody reads any more, and be silent from then on.

    A supervisor must outlive its terminal: it has processes to drain.
    """

    def on_broken_pipe(self) -> None:
        """Fall silent, where rich would exit."""
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, and fall silent when the terminal is gone."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True


WIDTH_OF_A_FILE = 200
"""Characters in a line of a table that goes to no terminal."""


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    width = None if out.is_terminal else WIDTH_OF_A_FILE
    console = out if width is None else LastingConsole(highlight=False, width=width)
    console.print(table, soft_wrap=False)


out = LastingConsole(highlight=False, soft_wrap=True)
err = LastingConsole(highlight=False, soft_wrap=True, stderr=True)


def show_error(error: StackError) -> None:
    """Say on standard error what happened and what to do."""
    err.print(Text.assemble(("error: ", "bold red"), error.message))
    err.print(Text.assemble(("remedy: ", "bold"), error.remedy))
