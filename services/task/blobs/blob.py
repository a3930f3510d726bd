"""A blob, as its tenant knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewBlob:
    """What a caller says of a blob before its data.

    Attributes:
        size: Length in bytes, or 0 if the caller leaves it to the server.
        sha256: Digest of the data, or empty if the caller leaves it to the server.
    """

    content_type: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored blob.

    Attributes:
        store: Name of the store that has the data.
        size: Length in bytes.
    """

    id: UUID
    tenant: str
    store: str
    content_type: str
    size: int
    sha256: bytes
    create_time: datetime
