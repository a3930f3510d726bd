"""What callers see of blobs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import blob_service_pb2
from mesh.task.v1.blob_service_pb2_grpc import BlobServiceStub, add_BlobServiceServicer_to_server
from meshkit.ids import uuid7
from meshkit.testing.refusals import refusal
from meshkit.testing.serving import Serve
from meshkit.testing.tokens import TokenFactory
from services.task.blobs.store import PIECE_BYTES
from services.task.servicer.blobs import BlobServicer
from tests.integration.task.blobs.parts import Room, noise, split

Request = blob_service_pb2.UploadBlobRequest
MAX_BYTES = 3 * PIECE_BYTES


class Caller:
    """Someone who calls the service, with the permissions of an agent."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = aio.insecure_channel(address)
        self.stub = BlobServiceStub(self._channel)
        self.metadata = (("authorization", f"Bearer {token}"),)

    async def close(self) -> None:
        await self._channel.close()

    async def send(self, *requests: Request) -> blob_service_pb2.Blob:
        """Send the messages of an upload."""
        return await self.stub.UploadBlob(iter(requests), metadata=self.metadata)

    async def upload(self, pieces: Iterable[bytes], **said: Any) -> blob_service_pb2.Blob:
        """Upload a blob of which something is said."""
        first = Request(blob=blob_service_pb2.Blob(**said))
        return await self.send(first, *(Request(data=piece) for piece in pieces))

    async def get(self, blob_id: str) -> blob_service_pb2.Blob:
        request = blob_service_pb2.GetBlobRequest(blob_id=blob_id)
        return await self.stub.GetBlob(request, metadata=self.metadata)

    async def download(self, blob_id: str) -> tuple[blob_service_pb2.Blob, bytes]:
        request = blob_service_pb2.DownloadBlobRequest(blob_id=blob_id)
        call = self.stub.DownloadBlob(request, metadata=self.metadata)
        first, *rest = [message async for message in call]
        assert all(message.HasField("data") for message in rest)
        return first.blob, b"".join(message.data for message in rest)


Callers = Callable[..., Awaitable[Caller]]


@pytest.fixture
async def callers(room: Room, serve: Serve, tokens: TokenFactory) -> AsyncIterator[Callers]:
    opened: list[Caller] = []

    async def caller(*permissions: str, tenant: str = "acme", **settings: Any) -> Caller:
        blobs = room.blobs(**{"max_bytes": MAX_BYTES, **settings})
        served = await serve(add_BlobServiceServicer_to_server, BlobServicer(blobs))
        permissions = permissions or ("blob:create", "blob:read")
        made = Caller(served.address, tokens.sign(*permissions, tenant=tenant))
        opened.append(made)
        return made

    yield caller
    for each in opened:
        await each.close()


async def assert_nothing_is_left(room: Room) -> None:
    assert await room.one("SELECT count(*) FROM blobs WHERE state = 'stored'") == 0
    assert await room.janitor().run_once() == 1
    assert await room.rows() == (0, 0)


@pytest.mark.parametrize("length", [1000, PIECE_BYTES])
async def test_a_blob_comes_back_as_it_was_uploaded(
    callers: Callers, room: Room, length: int
) -> None:
    caller, data = await callers(), noise(2 * PIECE_BYTES + 17)
    uploaded = await caller.upload(split(data, length), content_type="application/pdf")
    assert uploaded.content_type == "application/pdf"
    assert uploaded.size == len(data)
    assert uploaded.sha256 == hashlib.sha256(data).digest()
    assert uploaded.create_time.ToSeconds() > 0
    assert await caller.get(uploaded.id) == uploaded
    assert await caller.download(uploaded.id) == (uploaded, data)
    assert await room.one("SELECT store FROM blobs") == room.settings.store


async def test_a_blob_may_be_empty(callers: Callers) -> None:
    caller = await callers()
    uploaded = await caller.upload([], sha256=hashlib.sha256(b"").digest())
    assert (uploaded.size, uploaded.sha256) == (0, hashlib.sha256(b"").digest())
    assert await caller.download(uploaded.id) == (uploaded, b"")


async def test_what_is_said_of_a_blob_is_checked(callers: Callers) -> None:
    caller, data = await callers(), noise(PIECE_BYTES + 1)
    digest = hashlib.sha256(data).digest()
    uploaded = await caller.upload(split(data), size=len(data), sha256=digest)
    assert (uploaded.size, uploaded.sha256) == (len(data), digest)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"size": PIECE_BYTES}, "blob.size"),
        ({"size": PIECE_BYTES + 2}, "blob.size"),
        ({"sha256": bytes(32)}, "blob.sha256"),
    ],
)
async def test_data_that_differs_from_what_was_said_is_refused(
    callers: Callers, room: Room, said: dict[str, Any], field: str
) -> None:
    caller = await callers()
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "BLOB_CORRUPT", field):
        await caller.upload(split(noise(PIECE_BYTES + 1)), **said)
    await assert_nothing_is_left(room)


async def test_a_blob_that_is_too_large_is_refused(callers: Callers, room: Room) -> None:
    caller = await callers()
    await caller.upload(split(noise(MAX_BYTES)))
    await room.run("DELETE FROM blob_pieces")
    await room.run("DELETE FROM blobs")
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        await caller.upload([], size=MAX_BYTES + 1)
    assert await room.rows() == (0, 0)
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        await caller.upload(split(noise(MAX_BYTES + 1)))
    await assert_nothing_is_left(room)


async def test_a_digest_of_another_length_is_refused(callers: Callers) -> None:
    caller = await callers()
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "blob.sha256"):
        await caller.upload([], sha256=b"short")


async def test_an_upload_starts_with_the_description(callers: Callers, room: Room) -> None:
    caller = await callers()
    for messages in ([Request(data=b"x")], []):
        with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "message"):
            await caller.send(*messages)
    assert await room.rows() == (0, 0)


async def test_an_upload_has_one_description(callers: Callers, room: Room) -> None:
    caller = await callers()
    first = Request(blob=blob_service_pb2.Blob())
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "message"):
        await caller.send(first, Request(data=b"x"), first)
    await assert_nothing_is_left(room)


async def test_a_blob_of_another_tenant_is_answered_like_none(callers: Callers) -> None:
    caller, stranger = await callers(), await callers(tenant="umbrella")
    blob_id = (await caller.upload([b"secret"])).id
    answers = []
    for asked in (blob_id, str(uuid7())):
        for call in (stranger.get, stranger.download):
            with refusal(grpc.StatusCode.NOT_FOUND, "BLOB_NOT_FOUND", "blob_id"):
                await call(asked)
            with pytest.raises(aio.AioRpcError) as refused:
                await call(asked)
            answers.append((refused.value.code(), refused.value.details()))
    assert len(set(answers)) == 1


@pytest.mark.parametrize("held", ["blob:read", "blob:create"])
async def test_uploading_and_reading_need_a_permission_each(callers: Callers, held: str) -> None:
    full, caller = await callers(), await callers(held)
    blob_id = (await full.upload([b"data"])).id
    refused = refusal(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    if held == "blob:read":
        await caller.get(blob_id)
        with refused:
            await caller.upload([b"data"])
    else:
        await caller.upload([b"data"])
        with refused:
            await caller.download(blob_id)


async def test_a_cancelled_upload_leaves_nothing_that_the_janitor_does_not_remove(
    callers: Callers, room: Room
) -> None:
    caller = await callers(max_bytes=1 << 30)
    call = caller.stub.UploadBlob(metadata=caller.metadata)
    await call.write(Request(blob=blob_service_pb2.Blob()))
    for piece in split(noise(12 << 20)):
        await call.write(Request(data=piece))
    call.cancel()
    async with asyncio.timeout(30):
        while not await room.one("SELECT count(*) FROM blobs WHERE state = 'removing'"):
            await asyncio.sleep(0.02)
    await assert_nothing_is_left(room)


async def test_an_upload_that_takes_too_long_is_given_up(callers: Callers, room: Room) -> None:
    caller = await callers(upload_timeout=1.0)
    call = caller.stub.UploadBlob(metadata=caller.metadata)
    await call.write(Request(blob=blob_service_pb2.Blob()))
    await call.write(Request(data=noise(PIECE_BYTES)))
    with refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
        await call
    await assert_nothing_is_left(room)


async def test_a_blob_whose_data_is_lost_says_so(callers: Callers, room: Room) -> None:
    caller = await callers()
    uploaded = await caller.upload([b"data"])
    [blob_id] = [await room.one("SELECT id FROM blobs")]
    await room.store.delete(blob_id)
    with refusal(grpc.StatusCode.INTERNAL, "INTERNAL"):
        await caller.download(uploaded.id)
