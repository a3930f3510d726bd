"""Bulk operations in the database: a row each, worked on by whoever holds its claim."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import Keyset
from services.task.domain.bulk import BulkAction, BulkOperation, BulkState, NewBulkOperation
from services.task.store.walks import Place

_COLUMNS: Final = (
    "id, tenant, action, filter, state, done, refused, total, cursor_time, cursor_id, step,"
    " creator, create_time, end_time"
)

# ruff: noqa: S608 - the names are the table's own
_INSERT: Final = text(
    f"""
    INSERT INTO bulk_operations (id, tenant, action, filter, state, done, refused, total, creator,
        request_id, request_digest, create_time)
    VALUES (:id, :tenant, :action, :filter, 'running', 0, 0, :total, :creator, :request_id,
        :request_digest, :create_time)
    ON CONFLICT (tenant, request_id) WHERE request_id IS NOT NULL DO NOTHING
    RETURNING {_COLUMNS}
    """
)
_BY_REQUEST: Final = text(
    f"""
    SELECT request_digest, {_COLUMNS} FROM bulk_operations
    WHERE tenant = :tenant AND request_id = :request_id
    """
)
_GET: Final = text(f"SELECT {_COLUMNS} FROM bulk_operations WHERE id = :id AND tenant = :tenant")
_LIST: Final = text(
    f"""
    SELECT {_COLUMNS} FROM bulk_operations WHERE tenant = :tenant AND id < :before
    ORDER BY id DESC LIMIT :most
    """
)
_STOP: Final = text(
    f"""
    UPDATE bulk_operations SET state = 'stopped', end_time = now()
    WHERE id = :id AND tenant = :tenant AND state = 'running'
    RETURNING {_COLUMNS}
    """
)
_CLAIM: Final = text(
    f"""
    UPDATE bulk_operations SET claimant = :claimant, claim_time = now()
    WHERE id = (
        SELECT id FROM bulk_operations
        WHERE state = 'running' AND (claim_time IS NULL OR claimant = :claimant
            OR claim_time <= now() - make_interval(secs => :lease))
        ORDER BY claim_time NULLS FIRST, id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING {_COLUMNS}
    """
)
_PLAN: Final = text(
    """
    UPDATE bulk_operations
    SET step = :step, cursor_time = :cursor_time, cursor_id = :cursor_id, claim_time = now()
    WHERE id = :id AND claimant = :claimant AND state = 'running'
    """
).bindparams(bindparam("step", type_=ARRAY(Uuid)))
_PROGRESS: Final = text(
    """
    UPDATE bulk_operations
    SET step = '{}', done = done + :done, refused = refused + :refused, claim_time = now()
    WHERE id = :id AND claimant = :claimant
    """
)
_FINISH: Final = text(
    """
    UPDATE bulk_operations SET state = 'done', end_time = now()
    WHERE id = :id AND claimant = :claimant AND state = 'running'
    """
)
_DELETE_ENDED: Final = text(
    """
    DELETE FROM bulk_operations WHERE id = ANY(ARRAY(
        SELECT id FROM bulk_operations
        WHERE end_time <= now() - make_interval(secs => :keep)
        ORDER BY end_time LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)
_NOW: Final = text("SELECT clock_timestamp()")
_LAST_ID: Final = UUID(int=2**128 - 1)


async def insert(
    connection: AsyncConnection,
    operation_id: UUID,
    tenant: str,
    creator: str,
    new: NewBulkOperation,
    *,
    total: int,
    create_time: datetime,
) -> BulkOperation | None:
    """Store an operation and return it; None if its request id was used before."""
    values = {
        "id": operation_id,
        "tenant": tenant,
        "action": new.action.value,
        "filter": new.filter,
        "total": total,
        "creator": creator,
        "request_id": new.request_id or None,
        "request_digest": new.digest,
        "create_time": create_time,
    }
    return _one(await connection.execute(_INSERT, values))


async def find_by_request(
    connection: AsyncConnection, tenant: str, request_id: str
) -> tuple[BulkOperation, bytes] | None:
    """Return the operation that a request started, and the request's digest."""
    values = {"tenant": tenant, "request_id": request_id}
    row = (await connection.execute(_BY_REQUEST, values)).one_or_none()
    return None if row is None else (_operation(row), bytes(row.request_digest))


async def get(connection: AsyncConnection, tenant: str, operation_id: UUID) -> BulkOperation | None:
    """Return an operation of the tenant, or None."""
    return _one(await connection.execute(_GET, {"id": operation_id, "tenant": tenant}))


async def list_page(
    connection: AsyncConnection, tenant: str, wanted: Keyset
) -> Sequence[BulkOperation]:
    """Return the operations of a page, the newest first, and one more if more follow."""
    [before] = wanted.after or [_LAST_ID]
    values = {"tenant": tenant, "before": before, "most": wanted.size + 1}
    return [_operation(row) for row in await connection.execute(_LIST, values)]


async def stop(
    connection: AsyncConnection, tenant: str, operation_id: UUID
) -> BulkOperation | None:
    """Stop a running operation; None if there is no such one."""
    return _one(await connection.execute(_STOP, {"id": operation_id, "tenant": tenant}))


async def claim(
    connection: AsyncConnection, claimant: UUID, *, lease: float
) -> BulkOperation | None:
    """Take an operation that nobody else has worked on for so many seconds, if there is one."""
    return _one(await connection.execute(_CLAIM, {"claimant": claimant, "lease": lease}))


async def plan(
    connection: AsyncConnection,
    operation_id: UUID,
    claimant: UUID,
    step: Sequence[UUID],
    cursor: Place | None,
) -> bool:
    """Note what is about to be done, and go on from `cursor` next; False to stop working."""
    values = {
        "id": operation_id,
        "claimant": claimant,
        "step": list(step),
        "cursor_time": None if cursor is None else cursor.create_time,
        "cursor_id": None if cursor is None else cursor.id,
    }
    return bool((await connection.execute(_PLAN, values)).rowcount)


async def progress(
    connection: AsyncConnection, operation_id: UUID, claimant: UUID, *, done: int, refused: int
) -> bool:
    """Note what the step came to, also of a stopped operation; False to stop working."""
    values = {"id": operation_id, "claimant": claimant, "done": done, "refused": refused}
    return bool((await connection.execute(_PROGRESS, values)).rowcount)


async def finish(connection: AsyncConnection, operation_id: UUID, claimant: UUID) -> None:
    """Note that all is done."""
    await connection.execute(_FINISH, {"id": operation_id, "claimant": claimant})


async def delete_ended(connection: AsyncConnection, keep: float, most: int) -> int:
    """Delete up to `most` operations that ended so many seconds ago; return how many."""
    return int((await connection.execute(_DELETE_ENDED, {"keep": keep, "most": most})).rowcount)


async def now(connection: AsyncConnection) -> datetime:
    """Return the time by the database's clock."""
    time: datetime = (await connection.execute(_NOW)).scalar_one()
    return time


def _one(result: Any) -> BulkOperation | None:
    row = result.one_or_none()
    return None if row is None else _operation(row)


def _operation(row: Any) -> BulkOperation:
    return BulkOperation(
        id=row.id,
        tenant=row.tenant,
        action=BulkAction(row.action),
        filter=row.filter,
        state=BulkState(row.state),
        done=row.done,
        refused=row.refused,
        total=row.total,
        cursor=None if row.cursor_id is None else (row.cursor_time, row.cursor_id),
        step=tuple(row.step),
        creator=row.creator,
        create_time=row.create_time,
        end_time=row.end_time,
    )
