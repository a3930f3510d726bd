"""All crash points there are, as the sources name them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
_POINT: Final = re.compile(r'\bfailpoint\("([a-z_.]+)"\)')


def crash_points() -> list[str]:
    """Return the names of all crash points that the task service passes."""
    files = [
        *(ROOT / "services" / "task").rglob("*.py"),
        *(ROOT / "libs" / "meshkit").rglob("*.py"),
    ]
    return sorted({name for file in files for name in _POINT.findall(file.read_text())})
