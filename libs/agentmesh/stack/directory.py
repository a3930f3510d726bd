"""The data directory: what lies where, and whether it can be used."""

import os
import tempfile
from pathlib import Path
from typing import Final

from agentmesh.stack.errors import StackError

FORMAT: Final = "1"
OTHER_DIRECTORY: Final = "choose another data directory with --data-dir"
OWN_NAMES: Final = frozenset(
    {"format", "lock", "logs", "postgres", "postgres.unfinished", "run", "secrets"}
)


def default_data_directory() -> Path:
    """Return $AGENTMESH_DATA_DIR if it is set, otherwise ~/.agentmesh."""
    return Path(os.environ.get("AGENTMESH_DATA_DIR") or "~/.agentmesh").expanduser()


class DataDirectory:
    """Name the places in a data directory, and make it ready for a run."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.postgres = self.path / "postgres"
        self.secrets = self.path / "secrets"
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.gateway_work = self.run / "gateway"
        self.state = self.run / "mesh.json"
        self.lock = self.path / "lock"
        self._format = self.path / "format"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Make the directory and its parts where they are missing.

        Raises StackError when it isn't a directory, isn't ours, can't be written or holds
        something else.
        """
        try:
            self._make()
        except (FileExistsError, NotADirectoryError):
            raise StackError(
                f"{self.path} cannot be a data directory: a file is in the way",
                f"move the file away, or {OTHER_DIRECTORY}",
            ) from None
        except OSError as error:
            raise StackError(
                f"the data directory {self.path} cannot be written: {error.strerror}",
                f"correct its permissions or its disk, or {OTHER_DIRECTORY}",
            ) from None

    def _make(self) -> None:
        # Root's database runs under another account, which has to pass through.
        self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        self._check_owner()
        self._check_content()
        for part in (self.secrets, self.logs, self.run, self.gateway_work):
            part.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.run) as probe:
            probe.write(b"written")
        self._format.write_text(FORMAT + "\n")

    def _check_owner(self) -> None:
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise StackError(
                f"the data directory {self.path} belongs to another user (uid {owner})",
                f"run agentmesh as that user, or {OTHER_DIRECTORY}",
            )

    def _check_content(self) -> None:
        if self._format.exists():
            found = self._format.read_text(errors="replace").strip()
            if found != FORMAT:
                raise StackError(
                    f"the data directory {self.path} has format {found!r}, and this agentmesh "
                    f"reads format {FORMAT!r}",
                    f"use the version of agentmesh that made it, or {OTHER_DIRECTORY}",
                )
            return
        strangers = sorted({entry.name for entry in self.path.iterdir()} - OWN_NAMES)
        if strangers:
            raise StackError(
                f"{self.path} is not a data directory of agentmesh: it holds {strangers[0]!r}",
                "name an empty or a new directory with --data-dir",
            )
