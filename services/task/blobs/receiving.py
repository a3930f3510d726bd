"""The data of an upload on its way to a store: evened out, measured, checked."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator

from services.task.blobs.blob import NewBlob
from services.task.blobs.errors import BlobCorrupt, BlobTooLarge
from services.task.blobs.store import PIECE_BYTES


class Receiving:
    """Measures the data that a caller sends, and holds it against what the caller said.

    Attributes:
        size: Bytes received so far.
    """

    def __init__(self, said: NewBlob, *, max_bytes: int) -> None:
        self._said = said
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """Digest of what was received so far."""
        return self._hash.digest()

    def check_announced(self) -> None:
        """Refuse, before any data, what could not be accepted after it.

        Raises:
            BlobTooLarge: The blob is said to be larger than any may be.
        """
        if self._said.size > self._max_bytes:
            raise BlobTooLarge(self._max_bytes)

    async def pieces(self, data: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Give the data on in pieces of `PIECE_BYTES`; the last one may be shorter.

        Raises:
            BlobTooLarge: There is more of it than any blob may have.
            BlobCorrupt: There is more of it, less, or another than was said.
        """
        async for piece in _evened(data):
            self.size += len(piece)
            self._check_so_far()
            self._hash.update(piece)
            yield piece
        self._check_whole()

    def _check_so_far(self) -> None:
        if self.size > self._max_bytes:
            raise BlobTooLarge(self._max_bytes)
        if self._said.size and self.size > self._said.size:
            raise BlobCorrupt(
                f"More than the {self._said.size} bytes that the blob was said to have"
                " were received. Upload it anew.",
                field="blob.size",
            )

    def _check_whole(self) -> None:
        if self._said.size and self.size != self._said.size:
            raise BlobCorrupt(
                f"Only {self.size} of the {self._said.size} bytes that the blob was said to have"
                " were received. Upload it anew.",
                field="blob.size",
            )
        if self._said.sha256 and self.sha256 != self._said.sha256:
            raise BlobCorrupt(
                f"The SHA-256 of what was received is {self.sha256.hex()}, not what the blob was"
                " said to have. Upload it anew.",
                field="blob.sha256",
            )


async def _evened(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for each in data:
        if not rest and len(each) == PIECE_BYTES:
            yield each
            continue
        rest += each
        while len(rest) >= PIECE_BYTES:
            yield bytes(rest[:PIECE_BYTES])
            del rest[:PIECE_BYTES]
    if rest:
        yield bytes(rest)
