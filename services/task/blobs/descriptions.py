"""The rows that describe blobs.

A row is there from the first moment of an upload to the last of a removal, so that
whatever a store has of a blob can be found and removed. Callers see it in between.
`expire_time` tells when an upload is given up, an unused blob goes, or a removal is
tried again; a blob in use has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.blobs.blob import Blob

_BEGIN: Final = text(
    """
    INSERT INTO blobs (id, tenant, state, store, content_type, expire_time)
    VALUES (:id, :tenant, 'uploading', :store, :content_type,
            now() + make_interval(secs => :seconds))
    """
)
_COMPLETE: Final = text(
    """
    UPDATE blobs
    SET state = 'stored', size = :size, sha256 = :sha256, create_time = now(),
        expire_time = now() + make_interval(secs => :seconds)
    WHERE id = :id AND state = 'uploading'
    RETURNING id, tenant, store, content_type, size, sha256, create_time
    """
)
_ABANDON: Final = text(
    "UPDATE blobs SET state = 'removing', expire_time = now()"
    " WHERE id = :id AND state = 'uploading'"
)
_GET: Final = text(
    """
    SELECT id, tenant, store, content_type, size, sha256, create_time
    FROM blobs
    WHERE id = :id AND tenant = :tenant AND state = 'stored'
    """
)
_CLAIM: Final = text(
    """
    UPDATE blobs
    SET state = 'removing', expire_time = now() + make_interval(secs => :seconds)
    WHERE id = ANY (ARRAY(
        SELECT id FROM blobs
        WHERE expire_time <= now()
        ORDER BY expire_time
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, store
    """
)
_REMOVE: Final = text("DELETE FROM blobs WHERE id = :id AND state = 'removing'")


async def begin(
    connection: AsyncConnection,
    blob_id: UUID,
    *,
    tenant: str,
    store: str,
    content_type: str,
    seconds: float,
) -> None:
    """Note that a blob is being uploaded into a store, for so many seconds at the most."""
    values = {"id": blob_id, "tenant": tenant, "store": store, "content_type": content_type}
    await connection.execute(_BEGIN, {**values, "seconds": seconds})


async def complete(
    connection: AsyncConnection, blob_id: UUID, *, size: int, sha256: bytes, seconds: float
) -> Blob | None:
    """Make an uploaded blob visible, to be kept unused for so many seconds.

    Return None if it is no longer being uploaded.
    """
    values = {"id": blob_id, "size": size, "sha256": sha256, "seconds": seconds}
    row = (await connection.execute(_COMPLETE, values)).mappings().one_or_none()
    return None if row is None else Blob(**row)


async def abandon(connection: AsyncConnection, blob_id: UUID) -> None:
    """Have what was uploaded of a blob removed; do nothing to one that is stored."""
    await connection.execute(_ABANDON, {"id": blob_id})


async def get(connection: AsyncConnection, tenant: str, blob_id: UUID) -> Blob | None:
    """Return a stored blob of the tenant, or None."""
    values = {"id": blob_id, "tenant": tenant}
    row = (await connection.execute(_GET, values)).mappings().one_or_none()
    return None if row is None else Blob(**row)


async def claim_expired(
    connection: AsyncConnection, *, most: int, seconds: float
) -> Sequence[tuple[UUID, str]]:
    """Take blobs out whose time is over, and return their ids and stores.

    Nobody sees them any more. Nobody else is given them either for so many seconds,
    after which they can be claimed again.
    """
    rows = await connection.execute(_CLAIM, {"most": most, "seconds": seconds})
    return [(row.id, row.store) for row in rows]


async def remove(connection: AsyncConnection, blob_id: UUID) -> None:
    """Delete the description of a claimed blob, of which the store has nothing any more."""
    await connection.execute(_REMOVE, {"id": blob_id})
