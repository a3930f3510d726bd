"""A database with blobs, once with each store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshkit.ids import uuid7
from meshkit.testing.databases import ServiceDatabase
from services.task.blobs.settings import BlobSettings
from services.task.blobs.stores import open_stores
from tests.integration.task.blobs.parts import Room
from tests.integration.task.blobs.s3_server import S3Server, s3_server, why_none


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Run a server of S3 for the whole session."""
    if reason := why_none():
        pytest.skip(reason)
    with s3_server() as server:
        yield server


@pytest.fixture
async def database_room(service_database: ServiceDatabase) -> Room:
    """Keep blobs in the database."""
    database = await service_database("task")
    settings = BlobSettings()
    return Room(database, settings, open_stores(settings, database))


@pytest.fixture
async def bucket_room(service_database: ServiceDatabase, s3: S3Server) -> Room:
    """Keep blobs in a bucket of their own."""
    database = await service_database("task")
    settings = BlobSettings(store="s3", s3=s3.make_bucket(f"bucket-{uuid7().hex}"))
    return Room(database, settings, open_stores(settings, database))


@pytest.fixture(params=["postgres", "s3"])
def room(request: pytest.FixtureRequest) -> Room:
    """Keep blobs in one, then in the other."""
    name = "database_room" if request.param == "postgres" else "bucket_room"
    made: Room = request.getfixturevalue(name)
    return made
