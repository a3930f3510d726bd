"""Creating, finding and cancelling tasks."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.paging import PageRequest
from services.task.domain import EventType, NewTask, Task, TaskState
from services.task.store import history
from services.task.store.rows import TASK_COLUMNS, task_of, tasks_of
from services.task.tables import TaskRow

QUEUED = "task_queued"
"""Channel on which `<tenant> <capability>` is notified when there is work."""


async def insert_task(
    connection: AsyncConnection, new: NewTask, *, task_id: UUID, tenant: str, creator: str
) -> Task | None:
    """Store a new task, queued; None if the tenant has used its request id before."""
    statement = (
        insert(TaskRow)
        .values(
            id=task_id,
            tenant=tenant,
            capability=new.capability,
            input=new.input,
            priority=new.priority,
            labels=dict(new.labels),
            max_attempts=new.max_attempts,
            state=TaskState.QUEUED,
            attempt=0,
            epoch=0,
            agent_name="",
            creator=creator,
            request_id=new.request_id or None,
            request_digest=new.digest if new.request_id else None,
            create_time=func.now(),
            ready_time=func.now(),
            last_sequence=1,
        )
        .on_conflict_do_nothing(
            index_elements=["tenant", "request_id"],
            index_where=TaskRow.request_id.is_not(None),
        )
        .returning(*TASK_COLUMNS)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    task = task_of(row)
    await history.record(connection, EventType.CREATED, [task])
    await announce_work(connection, tenant, new.capability)
    return task


async def announce_work(connection: AsyncConnection, tenant: str, capability: str) -> None:
    """Tell every replica, at the commit, that a task waits for this capability."""
    payload = f"{tenant} {capability}"
    await connection.execute(select(func.pg_notify(QUEUED, payload)))


async def find_by_request_id(
    connection: AsyncConnection, tenant: str, request_id: str
) -> tuple[Task, bytes] | None:
    """Return the task that was created with this request id and the digest of its request."""
    query = select(*TASK_COLUMNS, TaskRow.request_digest).where(
        TaskRow.tenant == tenant, TaskRow.request_id == request_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (task_of(row), row.request_digest)


async def get_task(connection: AsyncConnection, tenant: str, task_id: UUID) -> Task | None:
    """Return a task of the tenant, or None."""
    query = select(*TASK_COLUMNS).where(TaskRow.tenant == tenant, TaskRow.id == task_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else task_of(row)


async def lock_task(connection: AsyncConnection, tenant: str, task_id: UUID) -> Task | None:
    """Return a task of the tenant, locked until the transaction ends, or None."""
    query = select(*TASK_COLUMNS).where(TaskRow.tenant == tenant, TaskRow.id == task_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else task_of(row)


async def list_tasks(
    connection: AsyncConnection, tenant: str, where: Mapping[str, str], page: PageRequest
) -> list[Task]:
    """Return up to `page.size + 1` tasks of the tenant, the newest first.

    `where` maps `state`, `capability` and `agent_id` to the value wanted.
    """
    query = select(*TASK_COLUMNS).where(TaskRow.tenant == tenant)
    if "state" in where:
        query = query.where(TaskRow.state == where["state"])
    if "capability" in where:
        query = query.where(TaskRow.capability == where["capability"])
    if "agent_id" in where:
        query = query.where(TaskRow.agent_id == UUID(where["agent_id"]))
    if page.after is not None:
        query = query.where(TaskRow.id < page.after)
    return tasks_of(
        await connection.execute(query.order_by(TaskRow.id.desc()).limit(page.size + 1))
    )


async def cancel_task(connection: AsyncConnection, task: Task) -> Task:
    """End a locked, unfinished task; its epoch moves on, so that later reports are refused."""
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task.id)
        .values(
            state=TaskState.CANCELLED,
            epoch=TaskRow.epoch + 1,
            lease_expire_time=None,
            end_time=func.now(),
            last_sequence=TaskRow.last_sequence + 1,
        )
        .returning(*TASK_COLUMNS)
    )
    cancelled = task_of((await connection.execute(statement)).one())
    await history.record(connection, EventType.CANCELLED, [cancelled])
    if task.state is TaskState.RUNNING:
        await history.announce_loss(connection, [task.lease])
    return cancelled
