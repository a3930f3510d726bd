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
    text.append("Ask who you are, and list the tasks:\n\n")
    for path in ("auth/whoami", "tasks"):
        text.append(_example(f"{url}/api/v1/{path}", admin_key_path))
    return text.append(f"\nSee agents at work: agentmesh demo{naming(data_directory)}\n")


def _example(url: str, admin_key_path: Path) -> str:
    key = f"$(cat {shlex.quote(str(admin_key_path))})"
    return f'  curl -H "Authorization: Bearer {key}" {url}\n'
