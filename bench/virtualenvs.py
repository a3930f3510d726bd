"""Virtual environments of the contenders, kept in a cache and made anew when their pins change."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

READY = "ready"


class VirtualEnvironments:
    """Makes an environment for each set of requirements, by uv where it is found."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._uv = _find_uv()

    def python(self, requirements: Sequence[str]) -> Path:
        """Return the interpreter of an environment that holds these; install it if need be.

        Raises:
            InstallError: They can't be installed.
        """
        digest = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
        name = requirements[0].partition("==")[0].partition("[")[0]
        directory = self._directory / f"{name}-{digest}"
        python = directory / "bin" / "python"
        if not (directory / READY).exists():
            print(f"installing {' '.join(requirements)}", file=sys.stderr, flush=True)
            self._make(directory, python, requirements)
            (directory / READY).touch()
        return python

    def _make(self, directory: Path, python: Path, requirements: Sequence[str]) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        if self._uv:
            _run(*self._uv, "venv", "--quiet", "--python", sys.executable, str(directory))
            _run(*self._uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
        else:
            _run(sys.executable, "-m", "venv", str(directory))
            _run(str(python), "-m", "pip", "install", "--quiet", *requirements)


class InstallError(Exception):
    """An environment could not be made; says why."""


def _find_uv() -> list[str]:
    beside = Path(sys.executable).parent / "uv"
    if beside.exists():
        return [str(beside)]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"{' '.join(command[:4])} …: {done.stderr.strip()[-500:]}")
