"""The texts and tables that the sample agents work on; the weather is made up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FILES: Final = sorted(Path(__file__).parent.glob("*.*"))

TEXTS: Final[Mapping[str, Path]] = {path.name: path for path in _FILES if path.suffix == ".txt"}
"""The texts by name."""

TABLES: Final[Mapping[str, Path]] = {path.name: path for path in _FILES if path.suffix == ".csv"}
"""The tables by name: CSV with a line of headings."""
