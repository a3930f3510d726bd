"""The stores that a replica has, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from meshkit.database.engine import Database
from services.task.blobs.postgres import PostgresBlobs
from services.task.blobs.settings import BlobSettings
from services.task.blobs.store import BlobStore

Stores = Mapping[str, BlobStore]
"""Stores by the names under which descriptions know them."""


class ExtraNotInstalled(Exception):
    """What a setting asks for is not installed."""


def open_stores(settings: BlobSettings, database: Database) -> Stores:
    """Open the database as a store, and the bucket if one is set.

    Both are open whichever new blobs go to, so that a change of the setting leaves
    earlier blobs readable.

    Raises:
        ExtraNotInstalled: A bucket is set, but the extra `s3` is not installed.
    """
    postgres = PostgresBlobs(database)
    if not settings.s3.bucket:
        return {"postgres": postgres}
    if find_spec("obstore") is None:
        raise ExtraNotInstalled(
            "the settings name a bucket for blobs, but what speaks to it is not installed;"
            " run: pip install 'agentmesh[s3]'"
        )
    from services.task.blobs.s3 import S3Blobs  # noqa: PLC0415 - needs the extra `s3`

    return {"postgres": postgres, "s3": S3Blobs(settings.s3, max_bytes=settings.max_bytes)}
