"""What a store of blobs' data must do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Protocol
from uuid import UUID

PIECE_BYTES: Final = 256 * 1024
"""Length of each piece that a store is given, but the last, which may be shorter."""


class DataMissing(Exception):
    """A store has no data of a blob, or less than there should be."""


class UploadLapsed(Exception):
    """A blob is no longer being uploaded: it was given up, and what was stored is removed."""


class BlobStore(Protocol):
    """Keeps the data of blobs, and holds no more than a few MiB of any in memory.

    Each operation raises Unavailable if the store can't be reached.
    """

    async def put(self, blob_id: UUID, pieces: AsyncIterator[bytes]) -> None:
        """Store what `pieces` gives, in order; when this returns, it is durable.

        What `pieces` raises is raised on. What was stored by then is for `delete` to
        remove.

        Raises:
            UploadLapsed: The blob is no longer being uploaded.
        """
        ...

    def open(self, blob_id: UUID, size: int) -> AsyncGenerator[bytes, None]:
        """Give the `size` bytes of a blob, in order, in pieces of up to `PIECE_BYTES`.

        Nothing is held at the store between two pieces, however slow the reader is.

        Raises:
            DataMissing: They are not all there.
        """
        ...

    async def delete(self, blob_id: UUID) -> None:
        """Remove what there is of a blob, if anything; it may be half of one."""
        ...
