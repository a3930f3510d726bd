"""Blobs' data in the task database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from services.task.blobs.store import DataMissing, UploadLapsed

# Transactions stay this small, for one that lasts holds back the cleaning of the task queue.
_PIECES_AT_ONCE: Final = 4
_PIECES_DELETED_AT_ONCE: Final = 64

# The lock keeps the janitor from taking the blob out while pieces are added to it.
_INSERT: Final = text(
    """
    WITH uploading AS (
        SELECT id FROM blobs WHERE id = :blob_id AND state = 'uploading' FOR KEY SHARE
    )
    INSERT INTO blob_pieces (blob_id, number, data)
    SELECT uploading.id, :first + piece.number - 1, piece.data
    FROM uploading,
        unnest(CAST(:pieces AS bytea[])) WITH ORDINALITY AS piece (data, number)
    """
)
_READ: Final = text(
    """
    SELECT data FROM blob_pieces
    WHERE blob_id = :blob_id AND number >= :first
    ORDER BY number
    LIMIT :most
    """
)
_DELETE: Final = text(
    """
    DELETE FROM blob_pieces
    WHERE blob_id = :blob_id AND number = ANY (ARRAY(
        SELECT number FROM blob_pieces
        WHERE blob_id = :blob_id
        ORDER BY number
        LIMIT :most
    ))
    """
)


class PostgresBlobs:
    """Keeps blobs in pieces, as rows; each read and write is a short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, blob_id: UUID, pieces: AsyncIterator[bytes]) -> None:
        """Store a blob that has a description of one being uploaded.

        Raises:
            UploadLapsed: It is not being uploaded.
        """
        number = 0
        async for some in _gathered(pieces):
            await self._insert(blob_id, number, some)
            number += len(some)

    async def open(self, blob_id: UUID, size: int) -> AsyncGenerator[bytes, None]:
        """Read a few pieces at a time.

        Raises:
            DataMissing: They are not all there.
        """
        number = 0
        while size > 0:
            some = await self._read(blob_id, number)
            if not some:
                raise DataMissing
            for piece in some:
                yield piece
                size -= len(piece)
            number += len(some)

    async def delete(self, blob_id: UUID) -> None:
        """Delete the pieces, some at a time."""

        async def work(connection: AsyncConnection) -> int:
            values = {"blob_id": blob_id, "most": _PIECES_DELETED_AT_ONCE}
            return (await connection.execute(_DELETE, values)).rowcount

        while await self._database.transaction(work):
            pass

    async def _insert(self, blob_id: UUID, first: int, pieces: list[bytes]) -> None:
        async def work(connection: AsyncConnection) -> int:
            values = {"blob_id": blob_id, "first": first, "pieces": pieces}
            return (await connection.execute(_INSERT, values)).rowcount

        if await self._database.transaction(work) != len(pieces):
            raise UploadLapsed

    async def _read(self, blob_id: UUID, first: int) -> Sequence[Any]:
        async def work(connection: AsyncConnection) -> Sequence[Any]:
            values = {"blob_id": blob_id, "first": first, "most": _PIECES_AT_ONCE}
            return (await connection.execute(_READ, values)).scalars().all()

        return await self._database.transaction(work)


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    some: list[bytes] = []
    async for piece in pieces:
        some.append(piece)
        if len(some) == _PIECES_AT_ONCE:
            yield some
            some = []
    if some:
        yield some
