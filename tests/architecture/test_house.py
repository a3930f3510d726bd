"""The habits of the house that no linter knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("services", "gateway", "libs/meshkit", "libs/agentmesh", "tests", "examples", "protos")
SOURCES = sorted(path for part in OURS for path in (ROOT / part).rglob("*.py"))
DRAWERS = {"utils", "util", "helpers", "helper", "shared", "common", "misc"}
LONGEST = 300


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= LONGEST, f"{lines} lines"


def test_there_are_no_drawers() -> None:
    drawers = [path for path in SOURCES if path.stem in DRAWERS or path.parent.name in DRAWERS]
    assert drawers == []


def test_every_suppression_is_specific() -> None:
    bare = re.compile(r"# (noqa|type: ignore)(\s*$|\s+[^\[:])")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []
