"""Serves `mesh.task.v1.BlobService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final
from uuid import UUID

from mesh.task.v1 import blob_service_pb2, blob_service_pb2_grpc
from meshkit.errors import InvalidArgument
from meshkit.interceptors.chain import Context
from meshkit.security.principal import current_principal
from meshkit.timestamps import to_timestamp
from services.task.blobs.blob import Blob, NewBlob
from services.task.blobs.errors import UploadProtocol
from services.task.blobs.usecases import Blobs

_SHA256_BYTES: Final = 32

UploadRequest = blob_service_pb2.UploadBlobRequest
DownloadResponse = blob_service_pb2.DownloadBlobResponse


class BlobServicer(blob_service_pb2_grpc.BlobServiceServicer):
    """The side of those who upload and download, callers and agents."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def UploadBlob(
        self, request_iterator: AsyncIterator[UploadRequest], context: Context
    ) -> blob_service_pb2.Blob:
        """Store a blob."""
        new = await _description(request_iterator)
        async with aclosing(_data(request_iterator)) as data:
            return _to_proto(await self._blobs.upload(current_principal().tenant, new, data))

    async def DownloadBlob(
        self, request: blob_service_pb2.DownloadBlobRequest, context: Context
    ) -> AsyncIterator[DownloadResponse]:
        """Read a blob."""
        blob = await self._blobs.get(current_principal().tenant, UUID(request.blob_id))
        yield DownloadResponse(blob=_to_proto(blob))
        async with aclosing(self._blobs.read(blob)) as pieces:
            async for piece in pieces:
                yield DownloadResponse(data=piece)

    async def GetBlob(
        self, request: blob_service_pb2.GetBlobRequest, context: Context
    ) -> blob_service_pb2.Blob:
        """Get the description of a blob."""
        blob = await self._blobs.get(current_principal().tenant, UUID(request.blob_id))
        return _to_proto(blob)


async def _description(requests: AsyncIterator[UploadRequest]) -> NewBlob:
    async for request in requests:
        if not request.HasField("blob"):
            break
        blob = request.blob
        if len(blob.sha256) not in (0, _SHA256_BYTES):
            raise InvalidArgument(
                f"A SHA-256 has {_SHA256_BYTES} bytes; leave it empty if you don't know it.",
                field="blob.sha256",
            )
        return NewBlob(blob.content_type, blob.size, blob.sha256)
    raise UploadProtocol


async def _data(requests: AsyncIterator[UploadRequest]) -> AsyncGenerator[bytes, None]:
    async for request in requests:
        if not request.HasField("data"):
            raise UploadProtocol
        yield request.data


def _to_proto(blob: Blob) -> blob_service_pb2.Blob:
    return blob_service_pb2.Blob(
        id=str(blob.id),
        content_type=blob.content_type,
        size=blob.size,
        sha256=blob.sha256,
        create_time=to_timestamp(blob.create_time),
    )
