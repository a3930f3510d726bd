"""What a user is told once a mesh is up: where it is, the key, and a first command."""

import shlex
from pathlib import Path

from rich.text import Text

from agentmesh.cli.options import naming


def welcome(
    *,
    url: str,
    admin_key_path: Path,
    new_admin_key: str | None,
    data_directory: Path,
    detached: bool,
) -> Text:
    """Compose the welcome. The admin's key is in it only while it is new."""
    how_to_stop = f"agentmesh down{naming(data_directory)}" if detached else "Ctrl-C"
    text = Text("\n")
    text.append("The mesh is up at ").append(url, "bold").append(f" (stop: {how_to_stop})\n\n")
    if new_admin_key:
        text.append(f"Admin API key, shown only now and kept in {admin_key_path}:\n\n  ")
        text.append(new_admin_key, "bold").append("\n\n")
    else:
        text.append(f"The admin API key is in {admin_key_path}\n\n")
    return text.append("Create a task:\n\n").append(_example(url, admin_key_path))


def _example(url: str, admin_key_path: Path) -> str:
    return (
        f"  curl {url}/api/v1/tasks \\\n"
        f'    -H "Authorization: Bearer $(cat {shlex.quote(str(admin_key_path))})" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        """    -d '{"capability": "text.count", "input": {"text": "hello mesh"}}'\n"""
    )
