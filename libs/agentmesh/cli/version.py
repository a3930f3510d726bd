"""`agentmesh version`: say which agentmesh this is."""

from importlib.metadata import version as installed_version

import typer


def version() -> None:
    """Show the version."""
    typer.echo(f"agentmesh {installed_version('agentmesh')}")


def show_and_exit(wanted: bool) -> None:
    """Show the version and end, if the option asks for it."""
    if wanted:
        version()
        raise typer.Exit
