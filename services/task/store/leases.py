"""Leases: who works on what until when, by the database's clock, fenced by epochs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import BIGINT, Uuid, column, func, select, text, update, values
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain import (
    LEASE_EXPIRED,
    Agent,
    EventType,
    Lease,
    Progress,
    Task,
    TaskError,
    TaskState,
)
from services.task.store import history
from services.task.store.rows import TASK_COLUMNS, TASK_NAMES, task_of, tasks_of
from services.task.tables import TaskRow

# A lateral subquery for each capability reads its own range of the queue's index; written as
# `capability = ANY(…)` the same claim reads the whole queue.
_CLAIM: Final = text(
    f"""
    UPDATE tasks SET
        state = 'running',
        attempt = attempt + 1,
        epoch = epoch + 1,
        agent_id = :agent_id,
        agent_name = :agent_name,
        progress_fraction = NULL,
        progress_message = NULL,
        error_type = NULL,
        error_message = NULL,
        start_time = now(),
        lease_expire_time = now() + :lease,
        last_sequence = last_sequence + 1
    WHERE id = ANY(ARRAY(
        SELECT queued.id
        FROM unnest(CAST(:capabilities AS text[])) AS wanted (capability)
        CROSS JOIN LATERAL (
            SELECT id, priority FROM tasks
            WHERE state = 'queued'
                AND tenant = :tenant
                AND capability = wanted.capability
                AND ready_time <= now()
            ORDER BY priority DESC, id
            LIMIT :slots
            FOR UPDATE SKIP LOCKED
        ) AS queued
        ORDER BY queued.priority DESC, queued.id
        LIMIT :slots
    ))
    RETURNING {TASK_NAMES}
    """  # noqa: S608 - the names are the table's own
).columns(*TASK_COLUMNS)

_REAP: Final = text(
    f"""
    UPDATE tasks SET
        state = CASE WHEN attempt < max_attempts THEN 'queued' ELSE 'failed' END,
        end_time = CASE WHEN attempt < max_attempts THEN NULL ELSE now() END,
        epoch = epoch + 1,
        lease_expire_time = NULL,
        ready_time = now(),
        error_type = :error_type,
        error_message = :error_message,
        last_sequence = last_sequence + 1
    WHERE id = ANY(ARRAY(
        SELECT id FROM tasks
        WHERE state = 'running' AND lease_expire_time < now()
        ORDER BY lease_expire_time
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING {TASK_NAMES}
    """  # noqa: S608 - the names are the table's own
).columns(*TASK_COLUMNS)

_WAITING: Final = text(
    """
    SELECT EXISTS (
        SELECT FROM unnest(CAST(:capabilities AS text[])) AS wanted (capability)
        CROSS JOIN LATERAL (
            SELECT FROM tasks
            WHERE state = 'queued'
                AND tenant = :tenant
                AND capability = wanted.capability
                AND ready_time <= now()
            LIMIT 1
        ) AS queued
    )
    """
)

_DUE: Final = text(
    """
    SELECT DISTINCT tenant, capability FROM (
        SELECT tenant, capability FROM tasks
        WHERE state = 'queued' AND attempt > 0 AND ready_time <= now()
        ORDER BY ready_time DESC
        LIMIT 1000
    ) AS due
    """
)


async def claim(
    connection: AsyncConnection,
    agent: Agent,
    capabilities: Sequence[str],
    *,
    slots: int,
    lease: float,
) -> list[Task]:
    """Lease up to `slots` queued tasks to the agent; the first by priority, then by age."""
    result = await connection.execute(
        _CLAIM,
        {
            "agent_id": agent.id,
            "agent_name": agent.name,
            "lease": timedelta(seconds=lease),
            "capabilities": list(capabilities),
            "tenant": agent.tenant,
            "slots": slots,
        },
    )
    tasks = sorted(tasks_of(result), key=lambda task: (-task.priority, task.id))
    await history.record(connection, EventType.STARTED, tasks)
    return tasks


async def renew(
    connection: AsyncConnection, agent: Agent, leases: Sequence[Lease], *, lease: float
) -> set[Lease]:
    """Prolong those of the leases that the agent still holds, and return them."""
    if not leases:
        return set()
    held = values(column("id", Uuid), column("epoch", BIGINT), name="held").data(
        [(each.task_id, each.epoch) for each in leases]
    )
    statement = (
        update(TaskRow)
        .where(
            TaskRow.id == held.c.id,
            TaskRow.epoch == held.c.epoch,
            TaskRow.state == TaskState.RUNNING,
            TaskRow.agent_id == agent.id,
        )
        .values(lease_expire_time=func.now() + timedelta(seconds=lease))
        .returning(TaskRow.id, TaskRow.epoch)
    )
    return {Lease(row.id, row.epoch) for row in await connection.execute(statement)}


async def lock_attempt(connection: AsyncConnection, agent: Agent, task_id: UUID) -> Task | None:
    """Return a task whose last attempt is this agent's, locked; None if it isn't."""
    query = select(*TASK_COLUMNS).where(
        TaskRow.id == task_id, TaskRow.tenant == agent.tenant, TaskRow.agent_id == agent.id
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else task_of(row)


async def save_progress(connection: AsyncConnection, task: Task, progress: Progress) -> Task:
    """Note how far a locked, running task has come."""
    return await _change(
        connection,
        task,
        EventType.PROGRESSED,
        progress_fraction=progress.fraction,
        progress_message=progress.message,
    )


async def succeed(connection: AsyncConnection, task: Task, result: bytes) -> Task:
    """End a locked, running task with its result."""
    return await _change(
        connection,
        task,
        EventType.SUCCEEDED,
        state=TaskState.SUCCEEDED,
        result=result,
        end_time=func.now(),
        lease_expire_time=None,
    )


async def fail(connection: AsyncConnection, task: Task, error: TaskError) -> Task:
    """End a locked, running task with the error of its last attempt."""
    return await _change(
        connection,
        task,
        EventType.FAILED,
        state=TaskState.FAILED,
        error_type=error.type,
        error_message=error.message,
        end_time=func.now(),
        lease_expire_time=None,
    )


async def requeue(
    connection: AsyncConnection, task: Task, error: TaskError, *, delay: float
) -> Task:
    """Queue a locked, running task for another attempt after `delay` seconds."""
    return await _change(
        connection,
        task,
        EventType.RETRYING,
        state=TaskState.QUEUED,
        error_type=error.type,
        error_message=error.message,
        ready_time=func.now() + timedelta(seconds=delay),
        lease_expire_time=None,
    )


async def release(connection: AsyncConnection, task: Task) -> Task:
    """Queue a locked, running task again as if this attempt had not been."""
    return await _change(
        connection,
        task,
        EventType.RELEASED,
        state=TaskState.QUEUED,
        attempt=TaskRow.attempt - 1,
        ready_time=func.now(),
        lease_expire_time=None,
    )


async def reap(connection: AsyncConnection, *, most: int) -> list[Task]:
    """Take up to `most` lapsed leases away; each task is queued again or has failed.

    Safe on several replicas at once: each lapsed lease is taken by one.
    """
    result = await connection.execute(
        _REAP,
        {
            "error_type": LEASE_EXPIRED,
            "error_message": "The agent went silent and its lease ran out.",
            "most": most,
        },
    )
    tasks = tasks_of(result)
    queued = [task for task in tasks if task.state is TaskState.QUEUED]
    failed = [task for task in tasks if task.state is TaskState.FAILED]
    await history.record(connection, EventType.RETRYING, queued)
    await history.record(connection, EventType.FAILED, failed)
    # The epoch has moved on by one.
    lost = [Lease(task.id, task.epoch - 1) for task in tasks]
    await history.announce_loss(connection, lost)
    return tasks


async def is_waiting(
    connection: AsyncConnection, agent: Agent, capabilities: Sequence[str]
) -> bool:
    """Tell whether a task waits that the agent could take, be it locked by another claim."""
    parameters = {"tenant": agent.tenant, "capabilities": list(capabilities)}
    return bool((await connection.execute(_WAITING, parameters)).scalar_one())


async def list_due(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return tenant and capability of tasks that wait to be tried again and now may be."""
    return [(row.tenant, row.capability) for row in await connection.execute(_DUE)]


async def _change(
    connection: AsyncConnection, task: Task, type_: EventType, **changes: object
) -> Task:
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task.id)
        .values(**changes, last_sequence=TaskRow.last_sequence + 1)
        .returning(*TASK_COLUMNS)
    )
    changed = task_of((await connection.execute(statement)).one())
    await history.record(connection, type_, [changed])
    return changed
