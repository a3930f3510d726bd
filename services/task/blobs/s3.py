"""Blobs' data in a bucket of S3, or of a store that speaks its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from meshkit.errors import Unavailable
from services.task.blobs.settings import S3Settings
from services.task.blobs.store import PIECE_BYTES, DataMissing

if TYPE_CHECKING:
    # The library has these names for type checkers only.
    from obstore import AsyncWritableFile
    from obstore.store import S3Config

log = structlog.get_logger()

# S3 takes up to 10,000 parts of an object, of at least 5 MiB but for the last.
_MOST_PARTS: Final = 10_000
_LEAST_PART_BYTES: Final = 5 << 20
_PARTS_AT_ONCE: Final = 2
_READ_BYTES: Final = 4 << 20
_REQUEST_SECONDS: Final = 30.0
_RETRIES: Final = 3
_ABORT_SECONDS: Final = 5.0


class S3Blobs:
    """Keeps each blob as an object.

    A process that dies while it uploads leaves parts in the bucket that no request
    shows; a lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes them.
    """

    def __init__(self, settings: S3Settings, *, max_bytes: int) -> None:
        self._store = _open(settings)
        self._part_bytes = max(_LEAST_PART_BYTES, -(-max_bytes // _MOST_PARTS))

    async def put(self, blob_id: UUID, pieces: AsyncIterator[bytes]) -> None:
        """Store a blob, in parts if it has more than one; it is there as a whole or not at all."""
        writer = obstore.open_writer_async(
            self._store,
            str(blob_id),
            buffer_size=self._part_bytes,
            max_concurrency=_PARTS_AT_ONCE,
        )
        try:
            async for piece in pieces:
                with _reaching_the_store():
                    await writer.write(piece)
        except BaseException as error:
            await _abort(writer, error)
            raise
        with _reaching_the_store():
            await writer.close()

    async def open(self, blob_id: UUID, size: int) -> AsyncGenerator[bytes, None]:
        """Read a range at a time.

        Raises:
            DataMissing: They are not all there.
        """
        for start in range(0, size, _READ_BYTES):
            data = await self._read(blob_id, start, min(_READ_BYTES, size - start))
            for offset in range(0, len(data), PIECE_BYTES):
                yield bytes(data[offset : offset + PIECE_BYTES])

    async def delete(self, blob_id: UUID) -> None:
        """Delete the object."""
        with _reaching_the_store():
            try:
                await obstore.delete_async(self._store, str(blob_id))
            except FileNotFoundError:
                # Some stores say so; most don't.
                return

    async def _read(self, blob_id: UUID, start: int, length: int) -> memoryview:
        with _reaching_the_store():
            try:
                data = await obstore.get_range_async(
                    self._store, str(blob_id), start=start, length=length
                )
            except FileNotFoundError as error:
                raise DataMissing from error
        if len(data) != length:
            raise DataMissing
        return memoryview(data)


def _open(settings: S3Settings) -> S3Store:
    config: S3Config = {
        "region": settings.region,
        "virtual_hosted_style_request": settings.virtual_hosted_style,
        # One object at a time is deleted, which every store of the kind can do.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.access_key_id:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    return S3Store(
        settings.bucket,
        prefix=settings.prefix or None,
        config=config,
        client_options={
            "allow_http": settings.allow_http,
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_REQUEST_SECONDS),
        },
    )


async def _abort(writer: AsyncWritableFile, error: BaseException) -> None:
    """Have the store forget the parts, if it can be told soon; what went wrong goes on."""
    try:
        async with asyncio.timeout(_ABORT_SECONDS):
            # There is no other way to have it abort.
            await writer.__aexit__(type(error), error, error.__traceback__)
    except (BaseError, OSError) as failure:
        log.warning("parts of an upload may be left in the bucket", cause=_first_line(failure))


@contextmanager
def _reaching_the_store() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        # Whatever the bucket has against this service is not the caller's doing.
        log.warning("the bucket of the blobs fails", cause=_first_line(error))
        raise Unavailable(
            "The store of the blobs can't be reached now. Try again.", retry_after=1.0
        ) from error


def _first_line(error: Exception) -> str:
    """Leave out what the library adds for its own developers."""
    return str(error).partition("\n")[0]
