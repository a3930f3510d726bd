"""What tests of blobs are made of."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from meshkit.database.engine import Database
from meshkit.ids import uuid7
from services.task.blobs import descriptions
from services.task.blobs.blob import Blob, NewBlob
from services.task.blobs.janitor import Janitor
from services.task.blobs.settings import BlobSettings
from services.task.blobs.store import PIECE_BYTES, BlobStore
from services.task.blobs.stores import Stores
from services.task.blobs.usecases import Blobs

TENANT = "acme"
UNKNOWN = NewBlob("application/octet-stream", 0, b"")


@dataclass
class Room:
    """A database with the stores of a replica on it."""

    database: Database
    settings: BlobSettings
    stores: Stores

    @property
    def store(self) -> BlobStore:
        """The store that new blobs go to."""
        return self.stores[self.settings.store]

    def blobs(self, **changes: Any) -> Blobs:
        """Make the use cases, with other settings if any are given."""
        settings = self.settings.model_copy(update=changes)
        return Blobs(self.database, self.stores, settings)

    def janitor(self) -> Janitor:
        """Make a janitor."""
        return Janitor(self.database, self.stores, interval=60)

    async def upload(self, data: bytes = b"data") -> Blob:
        """Store a blob."""
        return await self.blobs().upload(TENANT, UNKNOWN, streamed([data]))

    async def read(self, blob: Blob) -> bytes:
        """Read the data of a blob."""
        async with aclosing(self.blobs().read(blob)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def begin(self) -> UUID:
        """Note that a blob is being uploaded, and return its id."""
        blob_id = uuid7()
        await self.database.transaction(
            lambda tx: descriptions.begin(
                tx,
                blob_id,
                tenant=TENANT,
                store=self.settings.store,
                content_type="",
                seconds=600,
            )
        )
        return blob_id

    async def expire_all(self) -> None:
        """Let the time of everything be over that has one."""
        await self.run("UPDATE blobs SET expire_time = now() WHERE expire_time IS NOT NULL")

    async def run(self, statement: str) -> None:
        """Run a statement."""
        await self.database.transaction(lambda tx: tx.execute(text(statement)))

    async def one(self, query: str) -> Any:
        """Return the one value that a query gives."""
        found = await self.database.transaction(lambda tx: tx.execute(text(query)))
        return found.scalar_one()

    async def rows(self) -> tuple[int, int]:
        """Return how many descriptions and how many pieces there are."""
        return (
            await self.one("SELECT count(*) FROM blobs"),
            await self.one("SELECT count(*) FROM blob_pieces"),
        )

    @asynccontextmanager
    async def raw(self, settings: dict[str, str] | None = None) -> AsyncIterator[Any]:
        """Open a connection of asyncpg, as the task engine has one."""
        dsn = self.database.url.set(drivername="postgresql")
        connection = await asyncpg.connect(
            dsn.render_as_string(hide_password=False), server_settings=settings
        )
        try:
            yield connection
        finally:
            await connection.close()


async def streamed(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Give pieces one by one."""
    for piece in pieces:
        yield piece


def noise(size: int) -> bytes:
    """Make bytes that are the same in each run."""
    return random.Random(size).randbytes(size)  # noqa: S311 - no secret


def split(data: bytes, length: int = PIECE_BYTES) -> list[bytes]:
    """Cut data into pieces of a length; the last one may be shorter."""
    return [data[start : start + length] for start in range(0, len(data), length)]


async def failing(pieces: Iterable[bytes], error: Exception) -> AsyncIterator[bytes]:
    """Give pieces one by one, then fail."""
    for piece in pieces:
        yield piece
    raise error
