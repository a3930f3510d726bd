"""The contract that every store of blobs' data keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import pytest
from pydantic import SecretStr

from meshkit.database.engine import Database
from meshkit.errors import Unavailable
from meshkit.ids import uuid7
from meshkit.settings import DatabaseSettings
from services.task.blobs.settings import BlobSettings
from services.task.blobs.store import PIECE_BYTES, DataMissing, UploadLapsed
from services.task.blobs.stores import open_stores
from tests.integration.replicas import free_port
from tests.integration.task.blobs.parts import Room, failing, noise, split, streamed
from tests.integration.task.blobs.s3_server import S3Server

SIZES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 * PIECE_BYTES, (11 << 20) + 3]


async def put(room: Room, data: bytes) -> UUID:
    blob_id = await room.begin()
    await room.store.put(blob_id, streamed(split(data)))
    return blob_id


async def read(room: Room, blob_id: UUID, size: int) -> list[bytes]:
    async with aclosing(room.store.open(blob_id, size)) as pieces:
        return [piece async for piece in pieces]


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_read_in_pieces(room: Room, size: int) -> None:
    data = noise(size)
    pieces = await read(room, await put(room, data), size)
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


async def test_blobs_do_not_mix(room: Room) -> None:
    first, second = noise(PIECE_BYTES + 5), noise(2 * PIECE_BYTES + 7)
    first_id, second_id = await put(room, first), await put(room, second)
    assert b"".join(await read(room, first_id, len(first))) == first
    assert b"".join(await read(room, second_id, len(second))) == second


async def test_an_unknown_blob_is_missing(room: Room) -> None:
    with pytest.raises(DataMissing):
        await read(room, uuid7(), 1)


async def test_a_blob_that_is_shorter_than_it_should_be_is_missing(room: Room) -> None:
    blob_id = await put(room, b"short")
    with pytest.raises(DataMissing):
        await read(room, blob_id, 6)


async def test_a_deleted_blob_is_missing_and_can_be_deleted_again(room: Room) -> None:
    data = noise(70 * PIECE_BYTES)
    blob_id, other_id = await put(room, data), await put(room, b"other")
    await room.store.delete(blob_id)
    with pytest.raises(DataMissing):
        await read(room, blob_id, len(data))
    await room.store.delete(blob_id)
    assert await read(room, other_id, 5) == [b"other"]


async def test_a_failure_of_the_source_is_raised_on_and_what_is_left_can_be_deleted(
    room: Room,
) -> None:
    blob_id = await room.begin()
    error = RuntimeError("the caller went away")
    with pytest.raises(RuntimeError) as raised:
        await room.store.put(blob_id, failing(split(noise(12 << 20)), error))
    assert raised.value is error
    await room.store.delete(blob_id)
    with pytest.raises(DataMissing):
        await read(room, blob_id, 1)


@pytest.mark.parametrize("kind", ["postgres", "s3"])
async def test_a_store_that_is_away_is_unavailable(kind: str, s3: S3Server) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    url = SecretStr(f"postgresql+asyncpg://nobody@{nowhere}/nothing")
    database = Database(DatabaseSettings(url=url))
    bucket = s3.make_bucket("away").model_copy(update={"endpoint": f"http://{nowhere}"})
    store = open_stores(BlobSettings(s3=bucket), database)[kind]
    for call in (store.put(uuid7(), streamed([b"data"])), store.delete(uuid7())):
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable):
        await anext(store.open(uuid7(), 1))
    await database.close()


async def test_the_database_has_every_few_pieces_committed_before_more_are_taken(
    database_room: Room,
) -> None:
    behind: list[int] = []

    async def watched() -> AsyncIterator[bytes]:
        for number, piece in enumerate(split(noise(20 * PIECE_BYTES)), 1):
            behind.append(number - (await database_room.rows())[1])
            yield piece

    blob_id = await database_room.begin()
    await database_room.store.put(blob_id, watched())
    assert max(behind) == 4
    assert (await database_room.rows())[1] == 20


async def test_the_database_holds_no_connection_for_a_slow_reader(database_room: Room) -> None:
    data = noise(9 * PIECE_BYTES)
    blob_id = await put(database_room, data)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    async with aclosing(database_room.store.open(blob_id, len(data))) as pieces:
        async for _ in pieces:
            assert await database_room.one(busy) == 0


async def test_pieces_in_the_database_are_not_compressed(database_room: Room) -> None:
    await put(database_room, bytes(PIECE_BYTES))
    assert await database_room.one("SELECT pg_column_size(data) FROM blob_pieces") >= PIECE_BYTES


async def test_nothing_is_added_to_a_blob_that_was_given_up(database_room: Room) -> None:
    blob_id = await database_room.begin()
    await database_room.run("UPDATE blobs SET state = 'removing'")
    with pytest.raises(UploadLapsed):
        await database_room.store.put(blob_id, streamed([b"late"]))
    assert await database_room.rows() == (1, 0)


async def test_a_failed_upload_leaves_no_parts_in_the_bucket(
    bucket_room: Room, s3: S3Server
) -> None:
    blob_id, bucket = await bucket_room.begin(), bucket_room.settings.s3.bucket
    unfinished: list[str] = []

    async def watched() -> AsyncIterator[bytes]:
        for piece in split(noise(12 << 20)):
            yield piece
        unfinished.extend(s3.unfinished(bucket))
        raise RuntimeError("the caller went away")

    with pytest.raises(RuntimeError):
        await bucket_room.store.put(blob_id, watched())
    assert unfinished == [f"blobs/{blob_id}"]
    assert s3.unfinished(bucket) == []
    assert s3.objects(bucket) == []
