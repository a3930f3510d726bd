"""The secrets of a mesh, each in a file that only its owner can read."""

import os
import secrets
from pathlib import Path

MASTER = "master"
MASTER_KEY_BYTES = 32


class SecretFiles:
    """Keep secrets in a directory, one file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, name: str) -> Path:
        """Return the file of a secret."""
        return self._directory / f"{name}.key"

    def read(self, name: str) -> str | None:
        """Return a secret, or None if there is none of that name."""
        try:
            return self.path(name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def write(self, name: str, secret: str) -> None:
        """Keep a secret; it is on disk when this returns."""
        unfinished = self._directory / f"{name}.unfinished"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(secret + "\n")
            f.flush()
            os.fsync(f.fileno())
        unfinished.replace(self.path(name))

    def make_master_key(self) -> str:
        """Make and keep the key by which the auth service protects its own secrets."""
        key = secrets.token_hex(MASTER_KEY_BYTES)
        self.write(MASTER, key)
        return key
