"""Embedded servers for one test."""

from collections.abc import Callable
from pathlib import Path

from agentmesh.stack.postgres import EmbeddedPostgres

FAST = {"fsync": "off"}
Make = Callable[[Path], EmbeddedPostgres]
Plant = Callable[[Path], None]
