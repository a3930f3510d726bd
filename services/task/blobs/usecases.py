"""What callers want: upload, describe and read blobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from uuid import UUID

import structlog

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.ids import IdSource, uuid7
from services.task.blobs import descriptions
from services.task.blobs.blob import Blob, NewBlob
from services.task.blobs.errors import BlobDamaged, BlobNotFound, UploadTimeout
from services.task.blobs.receiving import Receiving
from services.task.blobs.settings import BlobSettings
from services.task.blobs.store import BlobStore, DataMissing, UploadLapsed
from services.task.blobs.stores import Stores

log = structlog.get_logger()


class Blobs:
    """Stores and shows blobs, each within the caller's tenant."""

    def __init__(
        self, database: Database, stores: Stores, settings: BlobSettings, *, ids: IdSource = uuid7
    ) -> None:
        self._database = database
        self._stores = stores
        self._settings = settings
        self._ids = ids

    async def upload(self, tenant: str, new: NewBlob, data: AsyncIterator[bytes]) -> Blob:
        """Store a blob; when this returns, it is durable and can be named by tasks.

        If anything goes wrong, the janitor removes what was stored.

        Raises:
            BlobTooLarge: It is larger than any may be.
            BlobCorrupt: The data is not what the caller said it would be.
            UploadTimeout: It took too long.
        """
        receiving = Receiving(new, max_bytes=self._settings.max_bytes)
        receiving.check_announced()
        blob_id = self._ids()
        budget = asyncio.timeout(self._settings.upload_timeout)
        try:
            async with budget:
                await self._begin(blob_id, tenant, new)
                async with aclosing(receiving.pieces(data)) as pieces:
                    await self._stores[self._settings.store].put(blob_id, pieces)
                return await self._complete(blob_id, receiving)
        except BaseException as error:
            await self._abandon(blob_id)
            if isinstance(error, UploadLapsed) or budget.expired():
                raise UploadTimeout(self._settings.upload_timeout) from error
            raise

    async def get(self, tenant: str, blob_id: UUID) -> Blob:
        """Return the description of a blob of the tenant.

        Raises:
            BlobNotFound: There is none.
        """
        blob = await self._database.read(lambda tx: descriptions.get(tx, tenant, blob_id))
        if blob is None:
            raise BlobNotFound
        return blob

    async def read(self, blob: Blob) -> AsyncGenerator[bytes, None]:
        """Give the data of a blob in pieces, as fast as they are taken.

        Raises:
            BlobNotFound: It was removed meanwhile.
            BlobDamaged: Its data is not where it should be.
        """
        try:
            async with aclosing(self._store_of(blob).open(blob.id, blob.size)) as pieces:
                async for piece in pieces:
                    yield piece
        except DataMissing as error:
            await self.get(blob.tenant, blob.id)
            log.exception("a blob's data is missing", blob=str(blob.id), store=blob.store)
            raise BlobDamaged from error

    def _store_of(self, blob: Blob) -> BlobStore:
        if blob.store not in self._stores:
            raise DataMissing
        return self._stores[blob.store]

    async def _begin(self, blob_id: UUID, tenant: str, new: NewBlob) -> None:
        await self._database.transaction(
            lambda tx: descriptions.begin(
                tx,
                blob_id,
                tenant=tenant,
                store=self._settings.store,
                content_type=new.content_type,
                seconds=self._settings.upload_timeout,
            )
        )

    async def _complete(self, blob_id: UUID, received: Receiving) -> Blob:
        blob = await self._database.transaction(
            lambda tx: descriptions.complete(
                tx,
                blob_id,
                size=received.size,
                sha256=received.sha256,
                seconds=self._settings.keep_unused,
            )
        )
        if blob is None:
            # The janitor has been there before the last of the data was.
            await self._stores[self._settings.store].delete(blob_id)
            raise UploadLapsed
        return blob

    async def _abandon(self, blob_id: UUID) -> None:
        # If this fails too, the upload expires by itself.
        with suppress(DomainError):
            await self._database.transaction(lambda tx: descriptions.abandon(tx, blob_id))
