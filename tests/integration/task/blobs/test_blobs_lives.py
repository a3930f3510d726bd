"""How long blobs live: as long as a task names them, or a while; then the janitor comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from uuid import UUID

import asyncpg
import pytest

from meshkit.ids import uuid7
from services.task.blobs.errors import BlobNotFound
from services.task.blobs.janitor import Janitor
from services.task.blobs.settings import BlobSettings
from services.task.blobs.stores import open_stores
from services.task.blobs.uses import Naming, forget, mark_all_used
from tests.integration.task.blobs.parts import TENANT, UNKNOWN, Room, noise, streamed

# What the session of the task engine's writer is like.
WRITER = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
    "enable_bitmapscan": "off",
}


async def use(room: Room, *blob_ids: UUID, tenant: str = TENANT) -> frozenset[UUID]:
    async with room.raw(WRITER) as connection, connection.transaction():
        [missing] = await mark_all_used(connection, [Naming(tenant, blob_ids)])
        return missing


async def release(room: Room, *blob_ids: UUID) -> None:
    async with room.raw(WRITER) as connection, connection.transaction():
        await forget(connection, blob_ids)


async def is_there(room: Room, blob_id: UUID) -> bool:
    try:
        blob = await room.blobs().get(TENANT, blob_id)
    except BlobNotFound:
        return False
    return await room.read(blob) == b"data"


async def test_an_unused_blob_is_removed_after_a_while(room: Room) -> None:
    blob = await room.upload()
    assert await room.janitor().run_once() == 0
    assert await is_there(room, blob.id)
    seconds = "SELECT extract(epoch FROM expire_time - create_time)::float FROM blobs"
    assert await room.one(seconds) == room.settings.keep_unused
    await room.expire_all()
    assert await room.janitor().run_once() == 1
    assert await room.rows() == (0, 0)


async def test_a_used_blob_stays_until_the_last_task_that_names_it_is_gone(room: Room) -> None:
    blob = await room.upload()
    assert await use(room, blob.id) == frozenset()
    assert await use(room, blob.id, blob.id) == frozenset()
    await release(room, blob.id)
    await release(room, blob.id)
    await room.expire_all()
    assert await room.janitor().run_once() == 0
    assert await is_there(room, blob.id)
    await release(room, blob.id)
    assert await room.janitor().run_once() == 1
    assert not await is_there(room, blob.id)


async def test_several_uses_are_forgotten_at_once(database_room: Room) -> None:
    blob, other = await database_room.upload(), await database_room.upload()
    await use(database_room, blob.id, blob.id, other.id)
    await release(database_room, blob.id, blob.id)
    assert await database_room.janitor().run_once() == 1
    assert await is_there(database_room, other.id)


async def test_more_is_not_forgotten_than_was_marked(database_room: Room) -> None:
    blob = await database_room.upload()
    await use(database_room, blob.id)
    with pytest.raises(asyncpg.CheckViolationError):
        await release(database_room, blob.id, blob.id)
    assert await database_room.one("SELECT uses FROM blobs") == 1


async def test_blobs_that_are_not_there_are_named_and_then_none_is_counted(
    database_room: Room,
) -> None:
    room = database_room
    blob, uploading, unknown = await room.upload(), await room.begin(), uuid7()
    assert await use(room, blob.id, uploading, unknown) == {uploading, unknown}
    assert await use(room, blob.id, tenant="umbrella") == {blob.id}
    assert await use(room) == frozenset()
    assert await room.one("SELECT sum(uses) FROM blobs") == 0


async def test_each_of_many_operations_stands_alone(database_room: Room) -> None:
    room = database_room
    first, second, unknown = await room.upload(), await room.upload(), uuid7()
    namings = [
        Naming(TENANT, [first.id, second.id]),
        Naming(TENANT, [first.id, unknown]),
        Naming("umbrella", [first.id]),
        Naming(TENANT, []),
        Naming(TENANT, [first.id]),
    ]
    async with room.raw(WRITER) as connection, connection.transaction():
        missing = await mark_all_used(connection, namings)
    assert missing == [set(), {unknown}, {first.id}, set(), set()]
    assert await room.one("SELECT array_agg(uses ORDER BY id) FROM blobs") == [2, 1]


async def test_a_use_that_is_rolled_back_was_none(database_room: Room) -> None:
    blob = await database_room.upload()
    async with database_room.raw() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await mark_all_used(connection, [Naming(TENANT, [blob.id])])
        await transaction.rollback()
    await database_room.expire_all()
    assert await database_room.janitor().run_once() == 1


async def test_replicas_that_use_the_same_blobs_at_once_do_not_deadlock(
    database_room: Room,
) -> None:
    room = database_room
    ids = [(await room.upload()).id for _ in range(5)]
    order = [ids, ids[::-1], ids[2:] + ids[:2]]

    async def replica(turn: int) -> None:
        namings = [Naming(TENANT, [each]) for each in order[turn % 3]]
        async with room.raw(WRITER) as connection:
            for _ in range(30):
                async with connection.transaction():
                    assert not any(await mark_all_used(connection, namings))
                async with connection.transaction():
                    await forget(connection, order[(turn + 1) % 3])

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for turn in range(4):
            tasks.create_task(replica(turn))
    assert await room.one("SELECT sum(uses) FROM blobs") == 0


async def test_the_janitor_passes_over_a_blob_that_is_just_being_used(room: Room) -> None:
    blob = await room.upload()
    await room.expire_all()
    async with room.raw() as connection, connection.transaction():
        await mark_all_used(connection, [Naming(TENANT, [blob.id])])
        assert await room.janitor().run_once() == 0
    assert await room.janitor().run_once() == 0
    assert await is_there(room, blob.id)


async def test_a_blob_that_the_janitor_has_taken_out_can_no_longer_be_used(
    database_room: Room,
) -> None:
    blob = await database_room.upload()
    await database_room.run("UPDATE blobs SET state = 'removing'")
    assert await use(database_room, blob.id) == {blob.id}
    with pytest.raises(BlobNotFound):
        await database_room.blobs().get(TENANT, blob.id)


async def test_an_upload_whose_process_died_is_removed(room: Room) -> None:
    blob_id = await room.begin()
    await room.store.put(blob_id, streamed([noise(1000)]))
    assert await room.janitor().run_once() == 0
    await room.expire_all()
    assert await room.janitor().run_once() == 1
    assert await room.rows() == (0, 0)


async def test_any_number_of_janitors_may_work_at_once(room: Room) -> None:
    for _ in range(25):
        await room.upload()
    kept = await room.upload()
    await use(room, kept.id)
    await room.expire_all()
    removed = await asyncio.gather(*(room.janitor().run_once() for _ in range(3)))
    assert sum(removed) == 25
    assert await is_there(room, kept.id)


async def test_a_blob_that_is_removed_while_it_is_read_is_not_found(room: Room) -> None:
    blob = await room.upload(noise(40 << 18))
    async with aclosing(room.blobs().read(blob)) as pieces:
        await anext(pieces)
        await room.expire_all()
        await room.janitor().run_once()
        with pytest.raises(BlobNotFound):
            async for _ in pieces:
                pass


async def test_a_blob_that_can_not_be_removed_now_is_removed_later(bucket_room: Room) -> None:
    room = bucket_room
    await room.upload()
    await room.expire_all()
    without_bucket = Janitor(room.database, open_stores(BlobSettings(), room.database), interval=60)
    assert await without_bucket.run_once() == 0
    assert await room.janitor().run_once() == 0
    await room.expire_all()
    assert await room.janitor().run_once() == 1
    assert await room.rows() == (0, 0)


async def test_blobs_stay_readable_when_the_setting_changes(bucket_room: Room) -> None:
    room = bucket_room
    in_bucket = await room.upload()
    in_database = await room.blobs(store="postgres").upload(TENANT, UNKNOWN, streamed([b"data"]))
    assert (in_bucket.store, in_database.store) == ("s3", "postgres")
    assert await is_there(room, in_bucket.id)
    assert await is_there(room, in_database.id)
    await room.expire_all()
    assert await room.janitor().run_once() == 2


async def test_the_janitor_comes_by_itself(database_room: Room) -> None:
    await database_room.upload()
    await database_room.expire_all()
    janitor = Janitor(database_room.database, database_room.stores, interval=0.01)
    running = asyncio.create_task(janitor.run())
    async with asyncio.timeout(30):
        while await database_room.rows() != (0, 0):
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
