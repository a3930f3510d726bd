"""Inputs and results that are too large to be carried along."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from grpc import aio

from agentmesh.errors import MeshError, from_rpc_error
from agentmesh.payloads import Content, decode_content
from mesh.task.v1 import blob_service_pb2, blob_service_pb2_grpc, payload_pb2

_PIECE_BYTES: Final = 256 << 10
_SECONDS: Final = 600.0
_ATTEMPTS: Final = 3


class Blobs:
    """The mesh's store of large data, as a caller or an agent uses it."""

    def __init__(self, channel: aio.Channel, metadata: Sequence[tuple[str, str]]) -> None:
        self._stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        self._metadata = metadata

    async def store(self, content: Content) -> payload_pb2.Payload:
        """Upload data and return what names it.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        blob_id = await self._tried(self._upload, content)
        return payload_pb2.Payload(content_type=content.content_type, blob_id=blob_id)

    async def fetch(self, payload: payload_pb2.Payload) -> Content:
        """Return the data of a payload, wherever it is.

        Raises:
            MeshError: It is gone, or the mesh can't be reached.
        """
        if not payload.blob_id:
            return Content(payload.data, payload.content_type)
        return Content(await self._tried(self._download, payload.blob_id), payload.content_type)

    async def value_of(self, payload: payload_pb2.Payload) -> Any:
        """Return a payload as a handler or caller likes it: see `decode_content`.

        Raises:
            MeshError: It is gone, or the mesh can't be reached.
            ValueError: It is said to be JSON, but isn't.
        """
        return decode_content(await self.fetch(payload))

    async def _upload(self, content: Content) -> str:
        call = self._stub.UploadBlob(_pieces(content), metadata=self._metadata, timeout=_SECONDS)
        return (await call).id

    async def _download(self, blob_id: str) -> bytes:
        request = blob_service_pb2.DownloadBlobRequest(blob_id=blob_id)
        call = self._stub.DownloadBlob(request, metadata=self._metadata, timeout=_SECONDS)
        pieces, size = [], 0
        async for response in call:
            if response.HasField("blob"):
                size = response.blob.size
            else:
                pieces.append(response.data)
        data = b"".join(pieces)
        if len(data) != size:
            raise MeshError("a download broke off", code="UNAVAILABLE")
        return data

    async def _tried(self, transfer: Any, argument: Any) -> Any:
        for left in reversed(range(_ATTEMPTS)):
            try:
                return await transfer(argument)
            except aio.AioRpcError as rpc_error:
                error = from_rpc_error(rpc_error)
                if not left or not error.is_transient:
                    raise error from rpc_error
            except MeshError:
                if not left:
                    raise
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover


async def _pieces(content: Content) -> AsyncIterator[blob_service_pb2.UploadBlobRequest]:
    data = content.data
    blob = blob_service_pb2.Blob(
        content_type=content.content_type, size=len(data), sha256=hashlib.sha256(data).digest()
    )
    yield blob_service_pb2.UploadBlobRequest(blob=blob)
    for start in range(0, len(data), _PIECE_BYTES):
        yield blob_service_pb2.UploadBlobRequest(data=data[start : start + _PIECE_BYTES])
